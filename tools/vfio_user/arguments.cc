#include "tools/vfio_user/arguments.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "fmt/format.h"
#include "proto_defs/transport/socket_address.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

constexpr std::array<std::pair<std::string_view, DmaPath>, 4> kDmaPaths = {{
    {"auto", DmaPath::kAuto},
    {"mmap", DmaPath::kMmap},
    {"file-io", DmaPath::kFileIo},
    {"message", DmaPath::kMessage},
}};

// What CLI11 calls an option: its long name without the dashes, or the positional one's name.
template <typename T>
CLI::Option* AddParsed(CLI::App& app, const OptionText& text, T& into,
                       absl::StatusOr<T> (*parse)(std::string_view)) {
  const auto take = [&into, parse, name = text.name](const std::string& word) {
    absl::StatusOr<T> value = parse(word);
    if (!value.ok()) throw CLI::ValidationError(name, std::string(value.status().message()));
    into = *value;
  };
  return app.add_option_function<std::string>(text.name, take, text.help)->type_name(text.type);
}

absl::StatusOr<uint64_t> ParseWidth(std::string_view text) {
  const absl::StatusOr<uint64_t> width = ParseNumber(text);
  if (width.ok() && (*width == 1 || *width == 2 || *width == 4 || *width == 8)) return width;
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no width of a register; give 1, 2, 4 or 8", text));
}

}  // namespace

absl::StatusOr<uint64_t> ParseNumber(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  const std::string_view digits = hex ? text.substr(2) : text;
  uint64_t value = 0;
  const char* const last = digits.data() + digits.size();
  const auto [end, error] = std::from_chars(digits.data(), last, value, hex ? 16 : 10);
  if (error == std::errc::result_out_of_range) {
    return absl::InvalidArgumentError(
        fmt::format("{} does not fit 64 bits; give at most 0x{:x}", text, UINT64_MAX));
  }
  if (error != std::errc() || end != last) {
    return absl::InvalidArgumentError(
        fmt::format("\"{}\" is no number; give decimal digits, or hex ones after 0x", text));
  }
  return value;
}

absl::StatusOr<uint64_t> ParseByteCount(std::string_view text) {
  constexpr std::string_view kUnits = "KMG";
  const size_t unit = text.empty() ? std::string_view::npos : kUnits.find(text.back());
  const bool plain = unit == std::string_view::npos;
  const unsigned shift = plain ? 0 : 10 * (static_cast<unsigned>(unit) + 1);
  absl::StatusOr<uint64_t> count = ParseNumber(text.substr(0, text.size() - (plain ? 0 : 1)));
  if (!count.ok()) {
    return absl::InvalidArgumentError(fmt::format(
        "\"{}\" is no number of bytes of 64 bits; give one like 4096, 0x1000, 64K, 64M or 1G",
        text));
  }
  if (*count > UINT64_MAX >> shift) {
    return absl::InvalidArgumentError(fmt::format("{} bytes do not fit 64 bits", text));
  }
  return *count << shift;
}

absl::StatusOr<RegionIndex> ParseRegion(std::string_view text) {
  for (uint32_t i = 0; i < kPciRegionCount; ++i) {
    if (text == ToText(RegionIndex{i})) return RegionIndex{i};
  }
  const absl::StatusOr<uint64_t> number = ParseNumber(text);
  if (number.ok() && *number <= UINT32_MAX) return RegionIndex{static_cast<uint32_t>(*number)};
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no region; give bar0 to bar5, rom, config, vga or a number", text));
}

absl::StatusOr<std::optional<IrqIndex>> ParseIrqType(std::string_view text) {
  for (uint32_t i = 0; i < kPciIrqCount; ++i) {
    if (text == ToText(IrqIndex{i})) return IrqIndex{i};
  }
  const absl::StatusOr<uint64_t> number = ParseNumber(text);
  if (number.ok() && *number <= UINT32_MAX) return IrqIndex{static_cast<uint32_t>(*number)};
  return absl::InvalidArgumentError(fmt::format(
      "\"{}\" is no type of interrupt; give intx, msi, msix, err, req or a number", text));
}

absl::StatusOr<DmaPath> ParseDmaPath(std::string_view text) {
  for (const auto& [name, path] : kDmaPaths) {
    if (text == name) return path;
  }
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no path; give auto, mmap, file-io or message", text));
}

absl::StatusOr<std::optional<DmaPath>> ParseDemoPath(std::string_view text) {
  if (text == "all") return std::nullopt;
  const absl::StatusOr<DmaPath> path = ParseDmaPath(text);
  if (path.ok() && *path != DmaPath::kAuto) return std::optional(*path);
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no path to show; give file-io, mmap, message or all", text));
}

std::string_view DmaPathName(DmaPath path) {
  for (const auto& [name, value] : kDmaPaths) {
    if (path == value) return name;
  }
  return "unknown";
}

CLI::Option* AddNumber(CLI::App& app, const OptionText& text, uint64_t& into) {
  return AddParsed<uint64_t>(app, text, into, ParseNumber);
}

CLI::Option* AddOptionalNumber(CLI::App& app, const OptionText& text,
                               std::optional<uint64_t>& into) {
  return AddParsed<std::optional<uint64_t>>(
      app, text, into, [](std::string_view word) -> absl::StatusOr<std::optional<uint64_t>> {
        const absl::StatusOr<uint64_t> number = ParseNumber(word);
        if (!number.ok()) return number.status();
        return *number;
      });
}

CLI::Option* AddByteCount(CLI::App& app, const OptionText& text, uint64_t& into) {
  return AddParsed<uint64_t>(app, text, into, ParseByteCount);
}

CLI::Option* AddRegion(CLI::App& app, RegionIndex& into) {
  const OptionText text = {"REGION", "NAME|NUMBER", "bar0 to bar5, rom, config, vga or a number"};
  return AddParsed<RegionIndex>(app, text, into, ParseRegion)->required();
}

CLI::Option* AddRegionOption(CLI::App& app, RegionIndex& into) {
  const OptionText text = {"--region", "REGION",
                           "bar0 to bar5, rom, config (the default), vga or a\nnumber"};
  return AddParsed<RegionIndex>(app, text, into, ParseRegion);
}

CLI::Option* AddIrqType(CLI::App& app, std::optional<IrqIndex>& into) {
  const OptionText text = {"TYPE", "NAME|NUMBER", "intx, msi, msix, err, req or a number"};
  return AddParsed<std::optional<IrqIndex>>(app, text, into, ParseIrqType);
}

CLI::Option* AddDmaPath(CLI::App& app, DmaPath& into) {
  const OptionText text = {
      "--path", "PATH",
      "how the device reaches the memory: mmap, file-io,\nmessage, or auto for the best that "
      "this server\nallows (the default)"};
  return AddParsed<DmaPath>(app, text, into, ParseDmaPath);
}

CLI::Option* AddDemoPath(CLI::App& app, std::optional<DmaPath>& into) {
  const OptionText text = {"--path", "PATH", "file-io, mmap, message or all (the default)"};
  return AddParsed<std::optional<DmaPath>>(app, text, into, ParseDemoPath);
}

CLI::Option* AddWidth(CLI::App& app, uint64_t& into) {
  const OptionText text = {"--width", "BYTES", "of each access: 1, 2, 4 (the default) or 8"};
  return AddParsed<uint64_t>(app, text, into, ParseWidth);
}

CLI::Option* AddSocketPath(CLI::App& app, std::string& into) {
  return app.add_option("SOCKET", into, "where the device is served")
      ->required()
      ->type_name("PATH")
      ->check(CheckSocketPath);
}

std::string CheckSocketPath(const std::string& path) {
  return std::string(SocketAddress::Of(path).status().message());
}

}  // namespace vfio_user
