#include "server/region_description.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/limits.h"
#include "server/pci/pci_layout.h"

namespace vfio_user {
namespace {

// Without wrapping: what is compared here lies within a BAR.
bool Overlap(const SparseArea& one, const SparseArea& other) {
  return one.offset < other.offset + other.size && other.offset < one.offset + one.size;
}

bool Within(const SparseArea& area, uint64_t bytes) {
  return area.size > 0 && area.offset <= bytes && area.size <= bytes - area.offset;
}

// What of a BAR is the server's own: the MSI-X table and the pending bits.
std::vector<SparseArea> MsixAreas(const DeviceDescription& description, RegionIndex index) {
  if (!description.msix.has_value() || description.msix->bar != index) return {};
  return {MsixTableArea(description), MsixPendingArea(description)};
}

// `area` is something of `bar` that is accessed in another way than through the device or MSI-X.
absl::Status CheckNotOver(std::string_view what, const SparseArea& area,
                          const std::vector<SparseArea>& others, std::string_view other_name) {
  for (const SparseArea& other : others) {
    if (!Overlap(area, other)) continue;
    return absl::InvalidArgumentError(
        fmt::format("{} at {:#x} + {:#x} overlaps {} at {:#x} + {:#x}", what, area.offset,
                    area.size, other_name, other.offset, other.size));
  }
  return absl::OkStatus();
}

// The client's rights to the memory are the descriptor's, whatever the flags of the BAR say.
absl::Status CheckRights(const BarDescription& bar) {
  const int flags = ::fcntl(bar.memory->file->get(), F_GETFL);
  if (flags < 0) return ErrnoStatus(errno, "F_GETFL of the memory's file");
  const int want = bar.flags.Has(RegionFlag::kWrite) ? O_RDWR : O_RDONLY;
  if ((flags & O_ACCMODE) == want && bar.flags.Has(RegionFlag::kRead)) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "memory: the file is open for {:#x} and the flags of the BAR are {:#x}, want the same rights",
      flags & O_ACCMODE, bar.flags.ToWire()));
}

absl::Status CheckFile(const BarDescription& bar, uint64_t page) {
  const MappableMemory& memory = *bar.memory;
  if (memory.file == nullptr || !memory.file->valid()) {
    return absl::InvalidArgumentError("memory: there is no file");
  }
  struct stat file = {};
  if (::fstat(memory.file->get(), &file) != 0) return ErrnoStatus(errno, "the memory's file");
  if (memory.file_offset % page != 0) {
    return absl::InvalidArgumentError(
        fmt::format("memory: file_offset is {:#x}, want whole pages", memory.file_offset));
  }
  // What is no regular file says no size: another device's BAR, for one.
  const auto file_bytes = static_cast<uint64_t>(file.st_size);
  if (S_ISREG(file.st_mode) &&
      (memory.file_offset > file_bytes || bar.size > file_bytes - memory.file_offset)) {
    return absl::InvalidArgumentError(
        fmt::format("memory: the file has {:#x} bytes, want {:#x} from {:#x} on", file_bytes,
                    bar.size, memory.file_offset));
  }
  return CheckRights(bar);
}

absl::Status CheckMemory(const DeviceDescription& description, const BarDescription& bar) {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  VFIO_USER_RETURN_IF_ERROR(CheckFile(bar, page));
  const std::vector<SparseArea> msix = MsixAreas(description, bar.index);
  const std::vector<SparseArea> areas = MappableAreas(bar);
  for (size_t i = 0; i < areas.size(); ++i) {
    const SparseArea& area = areas[i];
    if (area.offset % page != 0 || area.size % page != 0 || !Within(area, bar.size)) {
      return absl::InvalidArgumentError(fmt::format(
          "memory: area at {:#x} + {:#x}, want whole pages within the BAR's {:#x} bytes",
          area.offset, area.size, bar.size));
    }
    VFIO_USER_RETURN_IF_ERROR(CheckNotOver("memory", area, msix, "MSI-X"));
    const std::vector<SparseArea> before(areas.begin(), areas.begin() + static_cast<long>(i));
    VFIO_USER_RETURN_IF_ERROR(CheckNotOver("memory", area, before, "another area"));
  }
  return absl::OkStatus();
}

absl::Status CheckDoorbell(const BarDescription& bar, const SparseArea& area) {
  const uint64_t size = area.size;
  const bool is_register = size == 1 || size == 2 || size == 4 || size == 8;
  if (is_register && area.offset % size == 0 && Within(area, bar.size)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("doorbell at {:#x} + {:#x}, want 1, 2, 4 or 8 bytes at a multiple of that within "
                  "the BAR's {:#x} bytes",
                  area.offset, size, bar.size));
}

absl::Status CheckBarDoorbells(const DeviceDescription& description, const BarDescription& bar) {
  if (bar.doorbells.empty()) return absl::OkStatus();
  if (!bar.flags.Has(RegionFlag::kWrite)) {
    return absl::InvalidArgumentError("doorbells in a BAR that cannot be written");
  }
  if (bar.doorbells.size() > kMaxFdsPerMessage) {
    return absl::InvalidArgumentError(
        fmt::format("{} doorbells, want at most {}", bar.doorbells.size(), kMaxFdsPerMessage));
  }
  const std::vector<SparseArea> msix = MsixAreas(description, bar.index);
  const std::vector<SparseArea> mappable =
      bar.memory.has_value() ? MappableAreas(bar) : std::vector<SparseArea>();
  std::vector<SparseArea> before;
  for (const DoorbellDescription& doorbell : bar.doorbells) {
    const SparseArea area = {.offset = doorbell.offset, .size = doorbell.size};
    VFIO_USER_RETURN_IF_ERROR(CheckDoorbell(bar, area));
    VFIO_USER_RETURN_IF_ERROR(CheckNotOver("doorbell", area, msix, "MSI-X"));
    VFIO_USER_RETURN_IF_ERROR(CheckNotOver("doorbell", area, mappable, "memory"));
    VFIO_USER_RETURN_IF_ERROR(CheckNotOver("doorbell", area, before, "another doorbell"));
    before.push_back(area);
  }
  return absl::OkStatus();
}

}  // namespace

const BarDescription* FindBar(const DeviceDescription& description, RegionIndex index) {
  const auto bar = std::ranges::find(description.bars, index, &BarDescription::index);
  return bar == description.bars.end() ? nullptr : &*bar;
}

std::vector<SparseArea> MappableAreas(const BarDescription& bar) {
  if (!bar.memory->areas.empty()) return bar.memory->areas;
  return {{.offset = 0, .size = bar.size}};
}

absl::Status CheckMappableMemory(const DeviceDescription& description) {
  for (const BarDescription& bar : description.bars) {
    if (!bar.memory.has_value()) continue;
    VFIO_USER_RETURN_IF_ERROR(
        Annotate(CheckMemory(description, bar), fmt::format("{}", bar.index)));
  }
  return absl::OkStatus();
}

absl::Status CheckDoorbells(const DeviceDescription& description) {
  for (const BarDescription& bar : description.bars) {
    VFIO_USER_RETURN_IF_ERROR(
        Annotate(CheckBarDoorbells(description, bar), fmt::format("{}", bar.index)));
  }
  return absl::OkStatus();
}

}  // namespace vfio_user
