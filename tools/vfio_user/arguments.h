// Words of the command line as values. Every parser's error is a UsageError's text: what was
// given, and what is understood.
#ifndef TOOLS_VFIO_USER_ARGUMENTS_H_
#define TOOLS_VFIO_USER_ARGUMENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "proto_defs/wire/device_info.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace vfio_user {

// "4096" or "0x1000". A leading 0 does not mean octal.
absl::StatusOr<uint64_t> ParseNumber(std::string_view text);

// A number of bytes: the same, or with K, M or G (powers of 1024) behind it, as in "64M".
absl::StatusOr<uint64_t> ParseByteCount(std::string_view text);

// A region's name ("bar0" to "bar5", "rom", "config", "vga") or its number.
absl::StatusOr<RegionIndex> ParseRegion(std::string_view text);

// A type of interrupts: its name ("intx", "msi", "msix", "err", "req") or its number.
absl::StatusOr<std::optional<IrqIndex>> ParseIrqType(std::string_view text);

// "auto", "mmap", "file-io" or "message".
absl::StatusOr<DmaPath> ParseDmaPath(std::string_view text);
std::string_view DmaPathName(DmaPath path);

// The paths that can be shown: all but "auto", or nullopt for "all" of them.
absl::StatusOr<std::optional<DmaPath>> ParseDemoPath(std::string_view text);

struct OptionText {
  std::string name;  // As CLI11 takes it: "--width", or "OFFSET" for a positional one.
  std::string type;  // What stands for the value in the help.
  std::string help;
};

// Declares an option on `app` that is read into `into` by one of the parsers above. `into` must
// live until the command line was parsed.
CLI::Option* AddNumber(CLI::App& app, const OptionText& text, uint64_t& into);
CLI::Option* AddOptionalNumber(CLI::App& app, const OptionText& text,
                               std::optional<uint64_t>& into);
CLI::Option* AddByteCount(CLI::App& app, const OptionText& text, uint64_t& into);
CLI::Option* AddRegion(CLI::App& app, RegionIndex& into);
// The same as "--region", which need not be given.
CLI::Option* AddRegionOption(CLI::App& app, RegionIndex& into);
CLI::Option* AddIrqType(CLI::App& app, std::optional<IrqIndex>& into);
CLI::Option* AddDmaPath(CLI::App& app, DmaPath& into);
CLI::Option* AddDemoPath(CLI::App& app, std::optional<DmaPath>& into);

// The width of a register access in bytes: 1, 2, 4 or 8.
CLI::Option* AddWidth(CLI::App& app, uint64_t& into);

// The socket of a server, always the first positional argument. It is checked to be a path that a
// socket can have, not to exist.
CLI::Option* AddSocketPath(CLI::App& app, std::string& into);

// Empty for a path that a socket can have, else why not: what CLI::Option::check() takes.
std::string CheckSocketPath(const std::string& path);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_ARGUMENTS_H_
