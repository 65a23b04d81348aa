#include "server/devices/null.h"

#include <utility>

#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"

namespace vfio_user {

absl::StatusOr<std::unique_ptr<NullDevice>> NullDevice::Create() {
  VFIO_USER_ASSIGN_OR_RETURN(MappableBar memory, MappableBar::Create(kBarBytes));
  return std::unique_ptr<NullDevice>(new NullDevice(std::move(memory)));
}

NullDevice::NullDevice(MappableBar memory) : memory_(std::move(memory)) {
  description_.name = "null";
  description_.pci = {.vendor_id = 0x1234,
                      .device_id = 0x0001,
                      .subsystem_vendor_id = 0x1234,
                      .subsystem_id = 0x0001,
                      .class_code = 0xff0000,  // Of no class.
                      .revision = 1};
  description_.bars = {
      {.index = RegionIndex::kBar0, .size = kBarBytes, .memory = memory_.Describe()}};
}

absl::Status NullDevice::ReadRegion(RegionIndex, uint64_t offset, std::span<std::byte> data) {
  return memory_.Read(offset, data);
}

absl::Status NullDevice::WriteRegion(RegionIndex, uint64_t offset,
                                     std::span<const std::byte> data) {
  return memory_.Write(offset, data);
}

}  // namespace vfio_user
