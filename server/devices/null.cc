#include "server/devices/null.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"

namespace vfio_user {
namespace {

constexpr uint32_t kStateVersion = 1;

}  // namespace

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
  description_.power_management = true;
  description_.express = PciExpressDescription();
}

absl::Status NullDevice::ReadRegion(RegionIndex, uint64_t offset, std::span<std::byte> data) {
  return memory_.Read(offset, data);
}

absl::Status NullDevice::WriteRegion(RegionIndex, uint64_t offset,
                                     std::span<const std::byte> data) {
  return memory_.Write(offset, data);
}

absl::StatusOr<std::vector<std::byte>> NullDevice::Save() {
  std::vector<std::byte> state(sizeof(kStateVersion) + kBarBytes);
  std::memcpy(state.data(), &kStateVersion, sizeof(kStateVersion));
  VFIO_USER_RETURN_IF_ERROR(memory_.Read(0, std::span(state).subspan(sizeof(kStateVersion))));
  return state;
}

absl::Status NullDevice::Restore(std::span<const std::byte> state) {
  uint32_t version = 0;
  std::memcpy(&version, state.data(), std::min(state.size(), sizeof(version)));
  if (version != kStateVersion || state.size() != sizeof(version) + kBarBytes) {
    return absl::InvalidArgumentError(
        fmt::format("null: state of {} bytes and version {}, want {} and {}", state.size(), version,
                    sizeof(version) + kBarBytes, kStateVersion));
  }
  return memory_.Write(0, state.subspan(sizeof(version)));
}

}  // namespace vfio_user
