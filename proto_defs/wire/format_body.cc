// Whole messages: which type a body has.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/version.h"

namespace vfio_user {
namespace {

std::string Malformed(std::string_view why) { return fmt::format("malformed: {}", why); }

// For types whose text starts with the message's name.
template <typename T>
std::string Text(const absl::StatusOr<T>& parsed) {
  return parsed.ok() ? ToText(*parsed) : Malformed(std::string(parsed.status().message()));
}

// For types that several messages share.
template <typename T>
std::string Named(std::string_view name, const absl::StatusOr<T>& parsed) {
  return parsed.ok() ? fmt::format("{} {}", name, *parsed) : Text(parsed);
}

std::string Bodyless(std::string_view name, std::span<const uint8_t> body) {
  if (body.empty()) return std::string(name);
  return Malformed(fmt::format("{}: body is {} bytes, want 0", name, body.size()));
}

std::string Unknown(std::string_view name, std::span<const uint8_t> body) {
  return fmt::format("{} with a body of {} bytes", name, body.size());
}

std::string FormatCommand(Command command, std::span<const uint8_t> body) {
  const std::string name = ToText(command);
  switch (command) {
    case Command::kVersion:
      return Named(name, VersionMessage::Parse(body));
    case Command::kDmaMap:
      return Text(DmaMapRequest::Parse(body));
    case Command::kDmaUnmap:
      return Text(DmaUnmapRequest::Parse(body));
    case Command::kDeviceGetInfo:
      return Text(DeviceInfoRequest::Parse(body));
    case Command::kDeviceGetRegionInfo:
      return Text(RegionInfoRequest::Parse(body));
    case Command::kDeviceGetRegionIoFds:
      return Text(RegionIoFdsRequest::Parse(body));
    case Command::kDeviceGetIrqInfo:
      return Text(IrqInfoRequest::Parse(body));
    case Command::kDeviceSetIrqs:
      return Text(SetIrqsRequest::Parse(body));
    case Command::kRegionRead:
      return Named(name, RegionAccess::Parse(body, name));
    case Command::kRegionWrite:
      return Named(name, RegionAccessWithData::Parse(body, name));
    case Command::kDmaRead:
      return Named(name, DmaAccess::Parse(body, name));
    case Command::kDmaWrite:
      return Named(name, DmaAccessWithData::Parse(body, name));
    case Command::kDeviceReset:
      return Bodyless(name, body);
    case Command::kRegionWriteMulti:
      return Text(WriteMultiRequest::Parse(body));
    case Command::kDeviceFeature:
      return Named(name, DeviceFeature::Parse(body));
    case Command::kMigDataRead:
      return Text(MigDataReadRequest::Parse(body));
    case Command::kMigDataWrite:
      return Text(MigDataWriteRequest::Parse(body));
  }
  return Unknown(name, body);
}

std::string FormatReply(Command command, std::span<const uint8_t> body) {
  const std::string name = fmt::format("{} reply", command);
  switch (command) {
    case Command::kVersion:
      return Named(name, VersionMessage::Parse(body));
    case Command::kDmaUnmap:
      return Text(DmaUnmapReply::Parse(body));
    case Command::kDeviceGetInfo:
      return Text(DeviceInfo::Parse(body));
    case Command::kDeviceGetRegionInfo:
      return Text(RegionInfo::Parse(body));
    case Command::kDeviceGetRegionIoFds:
      return Text(RegionIoFdsReply::Parse(body));
    case Command::kDeviceGetIrqInfo:
      return Text(IrqInfo::Parse(body));
    case Command::kRegionRead:
      return Named(name, RegionAccessWithData::Parse(body, name));
    case Command::kRegionWrite:
      return Named(name, RegionAccess::Parse(body, name));
    case Command::kDmaRead:
      return Named(name, DmaAccessWithData::Parse(body, name));
    case Command::kDmaWrite:
      return Named(name, DmaAccess::ParseWriteReply(body));
    case Command::kRegionWriteMulti:
      return Text(WriteMultiReply::Parse(body));
    case Command::kDeviceFeature:
      return Named(name, DeviceFeature::Parse(body));
    case Command::kMigDataRead:
      return Text(MigDataReadReply::Parse(body));
    case Command::kDmaMap:
    case Command::kDeviceSetIrqs:
    case Command::kDeviceReset:
    case Command::kMigDataWrite:
      return Bodyless(name, body);
  }
  return Unknown(name, body);
}

// rust-vmm sends an errno of 0, and libvfio-user a body, with an error.
std::string FormatError(const MessageHeader& header, size_t body_bytes) {
  const int error = static_cast<int>(header.error);
  std::string out =
      fmt::format("{} reply refused: {} ({})", header.command,
                  error == 0 ? "no errno" : std::generic_category().message(error), header.error);
  if (body_bytes != 0) out += fmt::format(", with a body of {} bytes", body_bytes);
  return out;
}

}  // namespace

std::string FormatBody(const MessageHeader& header, std::span<const uint8_t> body) {
  if (header.is_command()) return FormatCommand(header.command, body);
  if (!header.is_reply()) {
    return Unknown(fmt::format("{} of type {}", header.command, header.type), body);
  }
  if (header.error_flag) return FormatError(header, body.size());
  return FormatReply(header.command, body);
}

}  // namespace vfio_user
