// Everything of this package as text, one line each, for people who look at a connection:
//   DMA_MAP address 0x7f0000001000 size 0x1000 offset 0x7f0000001000 flags read|write|file-io
// fmt::format takes all of these types through the formatter at the end. The text is not for
// programs to parse. It holds nothing unbounded: data and lists are cut, and say so.
#ifndef PROTO_DEFS_WIRE_FORMAT_H_
#define PROTO_DEFS_WIRE_FORMAT_H_

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "fmt/format.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/version.h"

namespace vfio_user {

// A whole message's body as its header says it is to be read, command or reply, with the message's
// name in front; "malformed: DMA_MAP: body is 31 bytes, want 32" for one that does not parse. Never
// fails, whatever the bytes: it is what a tracer between two peers prints.
std::string FormatBody(const MessageHeader& header, std::span<const uint8_t> body);

// Numbers with names: the name, or the number where it has none ("bar0", "12").
std::string ToText(Command command);
std::string ToText(Feature feature);
std::string ToText(IoFdType type);
std::string ToText(Iova iova);  // In hex.
std::string ToText(IrqAction action);
std::string ToText(IrqData data);
std::string ToText(IrqIndex index);
std::string ToText(MigState state);
std::string ToText(RegionIndex index);

// Flags: "read|write", "none" without any.
std::string ToText(DeviceInfoFlags flags);
std::string ToText(DmaMapFlags flags);
std::string ToText(DmaUnmapFlags flags);
std::string ToText(FeatureOps ops);
std::string ToText(IrqInfoFlags flags);
std::string ToText(MigrationFlags flags);
std::string ToText(RegionFlags flags);

// Messages. Those that belong to one command and direction start with its name.
std::string ToText(const MessageHeader& header);
std::string ToText(const DeviceInfo& info);
std::string ToText(const DeviceInfoRequest& request);
std::string ToText(const DmaMapRequest& request);
std::string ToText(const DmaUnmapReply& reply);
std::string ToText(const DmaUnmapRequest& request);
std::string ToText(const IrqInfo& info);
std::string ToText(const IrqInfoRequest& request);
std::string ToText(const MigDataReadReply& reply);
std::string ToText(const MigDataReadRequest& request);
std::string ToText(const MigDataWriteRequest& request);
std::string ToText(const RegionInfo& info);
std::string ToText(const RegionInfoRequest& request);
std::string ToText(const RegionIoFdsReply& reply);
std::string ToText(const RegionIoFdsRequest& request);
std::string ToText(const SetIrqsRequest& request);
std::string ToText(const WriteMultiReply& reply);
std::string ToText(const WriteMultiRequest& request);

// What several messages share, and parts of messages.
std::string ToText(const Capabilities& capabilities);
std::string ToText(const DeviceFeature& feature);
std::string ToText(const DirtyBitmapHeader& header);
std::string ToText(const DmaAccess& access);
std::string ToText(const DmaAccessWithData& access);
std::string ToText(const DmaLoggingRange& range);
std::string ToText(const DmaLoggingReport& report);
std::string ToText(const DmaLoggingStart& start);
std::string ToText(const IoFdEntry& entry);
std::string ToText(const MigDeviceState& state);
std::string ToText(const MigDataSize& size);
std::string ToText(const MigrationCapability& migration);
std::string ToText(const MigrationFeature& feature);
std::string ToText(const RegionAccess& access);
std::string ToText(const RegionAccessWithData& access);
std::string ToText(const RegionType& type);
std::string ToText(const ShadowMemory& shadow);
std::string ToText(const SparseArea& area);
std::string ToText(const TwinSocket& twin);
std::string ToText(const VersionMessage& version);
std::string ToText(const WriteMultiEntry& entry);

template <typename T>
concept HasText = requires(const T& value) {
  { ToText(value) } -> std::same_as<std::string>;
};

}  // namespace vfio_user

// Takes the format specifications of strings: "{:<24}".
template <vfio_user::HasText T>
struct fmt::formatter<T> : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(const T& value, Context& context) const {
    return fmt::formatter<std::string_view>::format(ToText(value), context);
  }
};

#endif  // PROTO_DEFS_WIRE_FORMAT_H_
