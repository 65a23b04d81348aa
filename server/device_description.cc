#include "server/device_description.h"

#include <linux/pci_regs.h>

#include <bit>
#include <cstdint>
#include <set>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/limits.h"
#include "server/region_description.h"

namespace vfio_user {
namespace {

// Below it, the bits of a BAR that are not address would be needed for it (PCI 3.0, 6.2.5.1).
constexpr uint64_t kLeastBarBytes = 16;
constexpr uint64_t kLeastRomBytes = 2048;
constexpr uint64_t kMostBarBytes = uint64_t{1} << 31;

// One pending bit for each vector, in words of 64.
uint64_t PbaBytes(uint32_t vectors) { return (uint64_t{vectors} + 63) / 64 * 8; }

absl::Status CheckBars(const DeviceDescription& description) {
  std::set<RegionIndex> seen;
  for (const BarDescription& bar : description.bars) {
    if (bar.index > RegionIndex::kRom) {
      return absl::InvalidArgumentError(fmt::format("{} is not a BAR", bar.index));
    }
    if (!seen.insert(bar.index).second) {
      return absl::InvalidArgumentError(fmt::format("{} is there twice", bar.index));
    }
    const uint64_t least = bar.index == RegionIndex::kRom ? kLeastRomBytes : kLeastBarBytes;
    if (!std::has_single_bit(bar.size) || bar.size < least || bar.size > kMostBarBytes) {
      return absl::InvalidArgumentError(
          fmt::format("{}: size is {:#x}, want a power of two from {:#x} to {:#x}", bar.index,
                      bar.size, least, kMostBarBytes));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckIrqs(const DeviceDescription& description) {
  std::set<IrqIndex> seen;
  for (const IrqDescription& irq : description.irqs) {
    if (static_cast<uint32_t>(irq.index) >= kPciIrqCount) {
      return absl::InvalidArgumentError(fmt::format("{} is no interrupt type", irq.index));
    }
    if (!seen.insert(irq.index).second) {
      return absl::InvalidArgumentError(fmt::format("{} is there twice", irq.index));
    }
    const bool single = irq.index != IrqIndex::kMsi && irq.index != IrqIndex::kMsix;
    const uint32_t most = single ? 1 : kMaxIrqVectors;
    if (irq.count == 0 || irq.count > most) {
      return absl::InvalidArgumentError(
          fmt::format("{}: {} vectors, want 1 to {}", irq.index, irq.count, most));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMsixPart(std::string_view what, uint64_t offset, uint64_t bytes,
                           const RegionInfo& bar) {
  if (offset % 8 == 0 && offset <= bar.size && bytes <= bar.size - offset) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("MSI-X: {} at {:#x} + {:#x}, want a multiple of 8 within the {:#x} bytes of {}",
                  what, offset, bytes, bar.size, bar.index));
}

absl::Status CheckMsix(const DeviceDescription& description) {
  const uint32_t vectors = VectorCount(description, IrqIndex::kMsix);
  if (!description.msix.has_value()) {
    if (vectors == 0) return absl::OkStatus();
    return absl::InvalidArgumentError("MSI-X has vectors and no place for their table");
  }
  if (vectors == 0) return absl::InvalidArgumentError("MSI-X has a table and no vectors");
  if (description.msix->bar > RegionIndex::kBar5) {
    return absl::InvalidArgumentError(
        fmt::format("MSI-X: the table is in {}, want a BAR", description.msix->bar));
  }
  const RegionInfo bar = RegionsOf(description)[static_cast<size_t>(description.msix->bar)];
  VFIO_USER_RETURN_IF_ERROR(CheckMsixPart("table", description.msix->table_offset,
                                          uint64_t{vectors} * PCI_MSIX_ENTRY_SIZE, bar));
  return CheckMsixPart("pending bits", description.msix->pba_offset, PbaBytes(vectors), bar);
}

}  // namespace

absl::Status CheckDescription(const DeviceDescription& description) {
  VFIO_USER_RETURN_IF_ERROR(CheckBars(description));
  VFIO_USER_RETURN_IF_ERROR(CheckIrqs(description));
  VFIO_USER_RETURN_IF_ERROR(CheckMsix(description));
  VFIO_USER_RETURN_IF_ERROR(CheckMappableMemory(description));
  return CheckDoorbells(description);
}

std::array<RegionInfo, kPciRegionCount> RegionsOf(const DeviceDescription& description) {
  std::array<RegionInfo, kPciRegionCount> regions;
  for (uint32_t i = 0; i < kPciRegionCount; ++i) regions[i].index = RegionIndex{i};
  for (const BarDescription& bar : description.bars) {
    RegionInfo& region = regions[static_cast<size_t>(bar.index)];
    region.size = bar.size;
    region.flags = bar.flags;
    if (!bar.memory.has_value()) continue;
    region.flags |= RegionFlag::kMmap;
    region.file_offset = bar.memory->file_offset;
    // Said of the whole BAR too, as libvfio-user does: some clients map nothing but areas.
    region.sparse_areas = MappableAreas(bar);
  }
  RegionInfo& config = regions[static_cast<size_t>(RegionIndex::kConfig)];
  config.size = PCI_CFG_SPACE_SIZE;
  config.flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite;
  return regions;
}

uint32_t VectorCount(const DeviceDescription& description, IrqIndex index) {
  for (const IrqDescription& irq : description.irqs) {
    if (irq.index == index) return irq.count;
  }
  return 0;
}

}  // namespace vfio_user
