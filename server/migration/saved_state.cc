#include "server/migration/saved_state.h"

#include <zlib.h>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr uint64_t kMagic = 0x4554'4154'5355'4656;  // "VFUSTATE", least significant byte first.
constexpr uint32_t kVersion = 1;

uint32_t Crc32(std::span<const uint8_t> bytes) {
  return static_cast<uint32_t>(::crc32_z(::crc32_z(0, nullptr, 0), bytes.data(), bytes.size()));
}

std::vector<std::byte> FromWire(std::span<const uint8_t> bytes) {
  const std::span<const std::byte> all = std::as_bytes(bytes);
  return {all.begin(), all.end()};
}

absl::Status CheckVersion(uint64_t magic, uint32_t version) {
  if (magic != kMagic) {
    return absl::InvalidArgumentError(
        fmt::format("device state: it begins with {:#x}, want {:#x}", magic, kMagic));
  }
  if (version != kVersion) {
    return absl::InvalidArgumentError(
        fmt::format("device state: version is {}, want {}", version, kVersion));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SavedState> SavedState::Parse(std::span<const uint8_t> stream) {
  WireReader in(stream);
  const auto magic = in.Read<uint64_t>();
  const auto version = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("device state"));
  VFIO_USER_RETURN_IF_ERROR(CheckVersion(magic, version));
  const auto name_bytes = in.Read<uint32_t>();
  const auto config_bytes = in.Read<uint32_t>();
  const auto interrupt_bytes = in.Read<uint32_t>();
  const auto device_bytes = in.Read<uint64_t>();
  // Take() gives nothing, and Finish says so, for more than there is.
  const std::span<const uint8_t> name = in.Take(name_bytes);
  const std::span<const uint8_t> config = in.Take(config_bytes);
  const std::span<const uint8_t> interrupts = in.Take(interrupt_bytes);
  const std::span<const uint8_t> device = in.Take(device_bytes);
  const auto crc = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.Finish("device state"));
  const uint32_t computed = Crc32(stream.first(stream.size() - sizeof(crc)));
  if (crc != computed) {
    return absl::InvalidArgumentError(
        fmt::format("device state: CRC-32 is {:#x}, that of its bytes {:#x}", crc, computed));
  }
  return SavedState{.name = std::string(name.begin(), name.end()),
                    .config = FromWire(config),
                    .interrupts = FromWire(interrupts),
                    .device = FromWire(device)};
}

std::vector<uint8_t> SavedState::ToStream() const {
  std::vector<uint8_t> stream;
  WireWriter out(stream);
  out.Write<uint64_t>(kMagic);
  out.Write<uint32_t>(kVersion);
  out.Write<uint32_t>(static_cast<uint32_t>(name.size()));
  out.Write<uint32_t>(static_cast<uint32_t>(config.size()));
  out.Write<uint32_t>(static_cast<uint32_t>(interrupts.size()));
  out.Write<uint64_t>(device.size());
  out.WriteBytes(std::as_bytes(std::span(name)));
  out.WriteBytes(std::span(config));
  out.WriteBytes(std::span(interrupts));
  out.WriteBytes(std::span(device));
  out.Write<uint32_t>(Crc32(stream));
  return stream;
}

}  // namespace vfio_user
