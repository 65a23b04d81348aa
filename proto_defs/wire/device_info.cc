#include "proto_defs/wire/device_info.h"

#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

absl::StatusOr<DeviceInfoRequest> DeviceInfoRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  DeviceInfoRequest out;
  out.argsz = in.Read<uint32_t>();
  in.Skip(kBytes - sizeof(uint32_t));
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("DEVICE_GET_INFO"));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("DEVICE_GET_INFO", out.argsz, kBytes));
  return out;
}

void DeviceInfoRequest::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.WriteZeros(kBytes - sizeof(uint32_t));
}

absl::StatusOr<DeviceInfo> DeviceInfo::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  DeviceInfo out;
  out.argsz = in.Read<uint32_t>();
  out.flags = DeviceInfoFlags::KnownOf(in.Read<uint32_t>(), kKnownDeviceInfoFlags);
  out.num_regions = in.Read<uint32_t>();
  out.num_irqs = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("DEVICE_GET_INFO reply"));
  return out;
}

void DeviceInfo::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(flags.ToWire());
  out.Write<uint32_t>(num_regions);
  out.Write<uint32_t>(num_irqs);
}

}  // namespace vfio_user
