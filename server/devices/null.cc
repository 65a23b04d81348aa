#include "server/devices/null.h"

#include "proto_defs/wire/device_info.h"

namespace vfio_user {

NullDevice::NullDevice() {
  description_.name = "null";
  description_.pci = {.vendor_id = 0x1234,
                      .device_id = 0x0001,
                      .subsystem_vendor_id = 0x1234,
                      .subsystem_id = 0x0001,
                      .class_code = 0xff0000,  // Of no class.
                      .revision = 1};
  description_.bars = {{.index = RegionIndex::kBar0, .size = kBarBytes}};
}

absl::Status NullDevice::ReadRegion(RegionIndex, uint64_t offset, std::span<std::byte> data) {
  memory_.Read(offset, data);
  return absl::OkStatus();
}

absl::Status NullDevice::WriteRegion(RegionIndex, uint64_t offset,
                                     std::span<const std::byte> data) {
  memory_.Write(offset, data);
  return absl::OkStatus();
}

}  // namespace vfio_user
