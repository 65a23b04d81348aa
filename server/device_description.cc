#include "server/device_description.h"

#include <bit>
#include <cstdint>
#include <set>
#include <string_view>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/limits.h"
#include "server/interrupts/interrupt_types.h"
#include "server/pci/capability_description.h"
#include "server/pci/pci_layout.h"
#include "server/region_description.h"

namespace vfio_user {
namespace {

struct SizeLimits {
  uint64_t least = 0;
  uint64_t most = 0;
};

// Below the least, bits that are not address would be needed for it. PCI 3.0, 6.2.5.1 and 6.2.5.2.
SizeLimits BarSizeLimits(const BarDescription& bar) {
  if (bar.index == RegionIndex::kRom) return {2048, 16 << 20};
  switch (bar.type) {
    case BarType::kIoPorts:
      return {4, 256};
    case BarType::kMemory64:
      return {16, uint64_t{1} << 63};
    case BarType::kMemory32:
      return {16, uint64_t{1} << 31};
  }
  return {};
}

absl::Status CheckBarSize(const BarDescription& bar) {
  const SizeLimits limits = BarSizeLimits(bar);
  if (std::has_single_bit(bar.size) && bar.size >= limits.least && bar.size <= limits.most) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("size is {:#x}, want a power of two from {:#x} to {:#x}", bar.size, limits.least,
                  limits.most));
}

absl::Status CheckBarType(const BarDescription& bar) {
  if (bar.index == RegionIndex::kRom) {
    if (bar.type == BarType::kMemory32 && !bar.prefetchable && !bar.flags.Has(RegionFlag::kWrite)) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError("want 32-bit memory that cannot be written");
  }
  if (bar.type == BarType::kIoPorts && bar.prefetchable) {
    return absl::InvalidArgumentError("I/O ports cannot be prefetchable");
  }
  if (bar.type == BarType::kMemory64 && bar.index == RegionIndex::kBar5) {
    return absl::InvalidArgumentError("is 64-bit memory and has no register after its own");
  }
  return absl::OkStatus();
}

absl::Status CheckBar(const BarDescription& bar) {
  if (bar.index > RegionIndex::kRom) return absl::InvalidArgumentError("is not a BAR");
  VFIO_USER_RETURN_IF_ERROR(CheckBarType(bar));
  return CheckBarSize(bar);
}

absl::Status CheckBars(const DeviceDescription& description) {
  std::set<RegionIndex> registers;
  for (const BarDescription& bar : description.bars) {
    VFIO_USER_RETURN_IF_ERROR(Annotate(CheckBar(bar), fmt::format("{}", bar.index)));
    const auto index = static_cast<uint32_t>(bar.index);
    const uint32_t count = bar.type == BarType::kMemory64 ? 2 : 1;
    for (uint32_t i = 0; i < count; ++i) {
      if (registers.insert(RegionIndex{index + i}).second) continue;
      return absl::InvalidArgumentError(
          fmt::format("the register of {} is taken twice", RegionIndex{index + i}));
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

absl::Status CheckMsixPart(std::string_view what, const SparseArea& part,
                           const BarDescription& bar) {
  if (part.offset % 8 == 0 && part.offset <= bar.size && part.size <= bar.size - part.offset) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("MSI-X: {} at {:#x} + {:#x}, want a multiple of 8 within the {:#x} bytes of {}",
                  what, part.offset, part.size, bar.size, bar.index));
}

absl::StatusOr<BarDescription> MsixBar(const DeviceDescription& description) {
  const RegionIndex index = description.msix->bar;
  const BarDescription* const bar = FindBar(description, index);
  if (bar != nullptr && index != RegionIndex::kRom && bar->type != BarType::kIoPorts &&
      bar->flags.Has(RegionFlag::kRead) && bar->flags.Has(RegionFlag::kWrite)) {
    return *bar;
  }
  return absl::InvalidArgumentError(fmt::format(
      "MSI-X: the table is in {}, want a BAR of memory that can be read and written", index));
}

absl::Status CheckMsix(const DeviceDescription& description) {
  const uint32_t vectors = VectorCount(description, IrqIndex::kMsix);
  if (!description.msix.has_value()) {
    if (vectors == 0) return absl::OkStatus();
    return absl::InvalidArgumentError("MSI-X has vectors and no place for their table");
  }
  if (vectors == 0) return absl::InvalidArgumentError("MSI-X has a table and no vectors");
  VFIO_USER_ASSIGN_OR_RETURN(const BarDescription bar, MsixBar(description));
  const SparseArea table = MsixTableArea(description);
  const SparseArea pending = MsixPendingArea(description);
  VFIO_USER_RETURN_IF_ERROR(CheckMsixPart("table", table, bar));
  VFIO_USER_RETURN_IF_ERROR(CheckMsixPart("pending bits", pending, bar));
  if (table.offset < pending.offset + pending.size && pending.offset < table.offset + table.size) {
    return absl::InvalidArgumentError(
        fmt::format("MSI-X: table at {:#x} + {:#x} overlaps pending bits at {:#x} + {:#x}",
                    table.offset, table.size, pending.offset, pending.size));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckDescription(const DeviceDescription& description) {
  VFIO_USER_RETURN_IF_ERROR(CheckBars(description));
  VFIO_USER_RETURN_IF_ERROR(CheckIrqs(description));
  VFIO_USER_RETURN_IF_ERROR(CheckMsix(description));
  VFIO_USER_RETURN_IF_ERROR(CheckMappableMemory(description));
  VFIO_USER_RETURN_IF_ERROR(CheckDoorbells(description));
  return CheckCapabilities(description);
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
  config.size = ConfigSpaceBytes(description);
  config.flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite;
  return regions;
}

}  // namespace vfio_user
