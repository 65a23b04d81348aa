#include "tests/conformance/server/all_parts_device.h"

#include <algorithm>
#include <utility>

#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"

namespace vfio_user {
namespace {

constexpr uint64_t kMemoryBytes = 64 << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<AllPartsDevice>> AllPartsDevice::Create() {
  VFIO_USER_ASSIGN_OR_RETURN(MappableBar memory, MappableBar::Create(kMemoryBytes));
  return std::unique_ptr<AllPartsDevice>(new AllPartsDevice(std::move(memory)));
}

AllPartsDevice::AllPartsDevice(MappableBar memory) : memory_(std::move(memory)) {
  description_.name = "all-parts";
  description_.pci = {.vendor_id = 0x1234, .device_id = 0xa110, .class_code = 0xff0000};
  description_.bars = {
      {.index = RegionIndex::kBar0,
       .size = kMemoryBytes,
       .memory = memory_.Describe(
           {{.offset = 0x1000, .size = 0x1000}, {.offset = 0x4000, .size = 0x2000}}),
       .doorbells = {{.offset = 0, .size = 4}, {.offset = 8, .size = 8}}},
      {.index = RegionIndex::kBar1, .size = 4096},
      {.index = RegionIndex::kBar2, .size = 16, .flags = RegionFlag::kRead},
      {.index = RegionIndex::kBar3, .size = 16, .flags = RegionFlag::kWrite},
  };
  description_.irqs = {{.index = IrqIndex::kIntx, .count = 1},
                       {.index = IrqIndex::kMsi, .count = 4},
                       {.index = IrqIndex::kMsix, .count = 8},
                       {.index = IrqIndex::kErr, .count = 1},
                       {.index = IrqIndex::kReq, .count = 1}};
  description_.power_management = true;
  description_.msi.per_vector_mask = true;
  description_.msix = {.bar = RegionIndex::kBar1, .table_offset = 0, .pba_offset = 0x800};
  description_.express = PciExpressDescription();
}

absl::Status AllPartsDevice::ReadRegion(RegionIndex index, uint64_t offset,
                                        std::span<std::byte> data) {
  if (index == RegionIndex::kBar0) return memory_.Read(offset, data);
  std::ranges::fill(data, std::byte{0});
  return absl::OkStatus();
}

absl::Status AllPartsDevice::WriteRegion(RegionIndex index, uint64_t offset,
                                         std::span<const std::byte> data) {
  if (index == RegionIndex::kBar0) return memory_.Write(offset, data);
  return absl::OkStatus();
}

}  // namespace vfio_user
