// Messages about the device: version, regions, interrupts, features.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/format_internal.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/version.h"

namespace vfio_user {
namespace {

// " key value" for what is there.
template <typename T>
std::string Optional(std::string_view key, const std::optional<T>& value) {
  return value ? fmt::format(" {} {}", key, *value) : "";
}

template <typename T>
std::string DecodedOrRaw(const absl::StatusOr<T>& decoded, std::span<const uint8_t> data) {
  return decoded.ok() ? ToText(*decoded) : DataText(data);
}

std::string FeatureDataText(const DeviceFeature& feature) {
  switch (feature.feature) {
    case Feature::kMigration:
      return DecodedOrRaw(MigrationFeature::Parse(feature.data), feature.data);
    case Feature::kMigDeviceState:
      return DecodedOrRaw(MigDeviceState::Parse(feature.data), feature.data);
    case Feature::kMigDataSize:
      return DecodedOrRaw(MigDataSize::Parse(feature.data), feature.data);
    case Feature::kDmaLoggingStart:
      return DecodedOrRaw(DmaLoggingStart::Parse(feature.data), feature.data);
    case Feature::kDmaLoggingReport:
      return DecodedOrRaw(DmaLoggingReport::Parse(feature.data), feature.data);
    default:
      return DataText(feature.data);
  }
}

}  // namespace

std::string ToText(const MessageHeader& header) {
  const std::string type = header.is_command() ? "command"
                           : header.is_reply() ? "reply"
                                               : fmt::format("type {}", header.type);
  std::string out =
      fmt::format("{} {} id {} size {}", header.command, type, header.msg_id, header.msg_size);
  if (header.no_reply) out += " no-reply";
  if (header.error_flag) {
    out += fmt::format(" error {} ({})", header.error,
                       std::generic_category().message(static_cast<int>(header.error)));
  }
  return out;
}

std::string ToText(const TwinSocket& twin) {
  return fmt::format("{}{}", twin.supported ? "supported" : "unsupported",
                     Optional("fd_index", twin.fd_index));
}

std::string ToText(const MigrationCapability& migration) {
  if (!migration.pgsize && !migration.max_bitmap_size) return "without limits";
  return (Optional("pgsize", migration.pgsize) +
          Optional("max_bitmap_size", migration.max_bitmap_size))
      .substr(1);
}

std::string ToText(const Capabilities& capabilities) {
  const std::string out = Optional("max_msg_fds", capabilities.max_msg_fds) +
                          Optional("max_data_xfer_size", capabilities.max_data_xfer_size) +
                          Optional("max_dma_maps", capabilities.max_dma_maps) +
                          Optional("pgsizes", capabilities.pgsizes) +
                          Optional("write_multiple", capabilities.write_multiple) +
                          Optional("twin_socket", capabilities.twin_socket) +
                          Optional("migration", capabilities.migration);
  return out.empty() ? "no capabilities" : out.substr(1);
}

std::string ToText(const VersionMessage& version) {
  return fmt::format("{}.{} {}", version.major, version.minor, version.capabilities);
}

std::string ToText(const DeviceInfoRequest& request) {
  return fmt::format("DEVICE_GET_INFO argsz {}", request.argsz);
}

std::string ToText(const DeviceInfo& info) {
  return fmt::format("DEVICE_GET_INFO reply flags {} regions {} irqs {}", info.flags,
                     info.num_regions, info.num_irqs);
}

std::string ToText(const RegionInfoRequest& request) {
  return fmt::format("DEVICE_GET_REGION_INFO region {} argsz {}", request.index, request.argsz);
}

std::string ToText(const SparseArea& area) {
  return fmt::format("{:#x}+{:#x}", area.offset, area.size);
}

std::string ToText(const RegionType& type) {
  return fmt::format("{:#x}/{:#x}", type.type, type.subtype);
}

std::string ToText(const RegionInfo& info) {
  std::string out = fmt::format(
      "DEVICE_GET_REGION_INFO reply region {} size {:#x} offset {:#x} flags {} argsz {}",
      info.index, info.size, info.file_offset, info.flags, info.argsz);
  if (info.sparse_areas) {
    out += fmt::format(" sparse {}", ListText(std::span<const SparseArea>(*info.sparse_areas)));
  }
  return out + Optional("type", info.type);
}

std::string ToText(const RegionIoFdsRequest& request) {
  return fmt::format("DEVICE_GET_REGION_IO_FDS region {} argsz {}", request.index, request.argsz);
}

std::string ToText(const ShadowMemory& shadow) {
  return fmt::format("fd {} offset {:#x}", shadow.fd_index, shadow.offset);
}

std::string ToText(const IoFdEntry& entry) {
  const std::string fd = entry.fd_index == kNoFdIndex ? "none" : fmt::format("{}", entry.fd_index);
  return fmt::format("{:#x}+{:#x} {} fd {} flags {:#x} value {:#x}{}", entry.offset, entry.size,
                     entry.type, fd, entry.flags, entry.value, Optional("shadow", entry.shadow));
}

std::string ToText(const RegionIoFdsReply& reply) {
  return fmt::format("DEVICE_GET_REGION_IO_FDS reply region {} count {} argsz {} {}", reply.index,
                     reply.count, reply.argsz, ListText(std::span<const IoFdEntry>(reply.entries)));
}

std::string ToText(const IrqInfoRequest& request) {
  return fmt::format("DEVICE_GET_IRQ_INFO irq {}", request.index);
}

std::string ToText(const IrqInfo& info) {
  return fmt::format("DEVICE_GET_IRQ_INFO reply irq {} count {} flags {}", info.index, info.count,
                     info.flags);
}

std::string ToText(const SetIrqsRequest& request) {
  std::string out = fmt::format("DEVICE_SET_IRQS irq {} start {} count {} {}|{}", request.index,
                                request.start, request.count, request.data, request.action);
  if (request.data == IrqData::kBool) out += fmt::format(" {}", DataText(request.bools));
  return out;
}

std::string ToText(const MigrationFeature& feature) {
  return fmt::format("flags {}", feature.flags);
}

std::string ToText(const MigDeviceState& state) { return fmt::format("state {}", state.state); }

std::string ToText(const MigDataSize& size) {
  return fmt::format("stop-copy length {}", size.stop_copy_length);
}

std::string ToText(const DmaLoggingRange& range) {
  return fmt::format("{}+{:#x}", range.address, range.length);
}

std::string ToText(const DmaLoggingStart& start) {
  return fmt::format("page size {:#x} ranges {}", start.page_size,
                     ListText(std::span<const DmaLoggingRange>(start.ranges)));
}

std::string ToText(const DmaLoggingReport& report) {
  const std::string bitmap = report.bitmap.empty() ? "" : " " + DataText(report.bitmap);
  return fmt::format("address {} length {:#x} page size {:#x}{}", report.address, report.length,
                     report.page_size, bitmap);
}

std::string ToText(const DeviceFeature& feature) {
  const std::string data = feature.data.empty() ? "" : " " + FeatureDataText(feature);
  return fmt::format("{} {} argsz {}{}", feature.ops, feature.feature, feature.argsz, data);
}

}  // namespace vfio_user
