#include "client/region_mapping.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/owner_process.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/guarded_copy.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

struct File {
  bool sealed = false;
  uint64_t page_bytes = 0;
  uint64_t bytes = 0;
};

absl::StatusOr<File> Examine(const UniqueFd& file) {
  File out = {.page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE))};
  struct statfs system = {};
  if (::fstatfs(file.get(), &system) != 0) return ErrnoStatus(errno, "fstatfs");
  // Pages that are punched out of a file of huge ones may not be had again, for all its seals.
  const bool huge = system.f_type == HUGETLBFS_MAGIC;
  if (huge) out.page_bytes = static_cast<uint64_t>(system.f_bsize);
  // Before its size is looked at, which then stays.
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  out.sealed = !huge && seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
  struct stat about = {};
  if (::fstat(file.get(), &about) != 0) return ErrnoStatus(errno, "fstat");
  if (!S_ISREG(about.st_mode) && !S_ISCHR(about.st_mode)) {
    return absl::InvalidArgumentError("the server's descriptor is neither a file nor a device");
  }
  out.bytes = S_ISREG(about.st_mode) ? static_cast<uint64_t>(about.st_size) : UINT64_MAX;
  return out;
}

template <typename T>
void LoadAs(const std::byte* at, std::byte* into) {
  const T value = __atomic_load_n(reinterpret_cast<const T*>(at), __ATOMIC_ACQUIRE);
  std::memcpy(into, &value, sizeof(T));
}
template <typename T>
void StoreAs(const std::byte* from, std::byte* at) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  __atomic_store_n(reinterpret_cast<T*>(at), value, __ATOMIC_RELEASE);
}

// Whether the bytes at `at` can be moved by one load or store: they are a register, maybe.
bool IsRegister(const std::byte* at, size_t bytes) {
  return (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) &&
         reinterpret_cast<uintptr_t>(at) % bytes == 0;
}

void LoadRegister(const std::byte* at, std::span<std::byte> into) {
  if (into.size() == 1) return LoadAs<uint8_t>(at, into.data());
  if (into.size() == 2) return LoadAs<uint16_t>(at, into.data());
  if (into.size() == 4) return LoadAs<uint32_t>(at, into.data());
  LoadAs<uint64_t>(at, into.data());
}
void StoreRegister(std::span<const std::byte> from, std::byte* at) {
  if (from.size() == 1) return StoreAs<uint8_t>(from.data(), at);
  if (from.size() == 2) return StoreAs<uint16_t>(from.data(), at);
  if (from.size() == 4) return StoreAs<uint32_t>(from.data(), at);
  StoreAs<uint64_t>(from.data(), at);
}

}  // namespace

std::shared_ptr<const RegionMapping> RegionMapping::Create(const RegionInfo& info,
                                                           const UniqueFd& file) {
  std::unique_ptr<RegionMapping> mapping(new RegionMapping());
  mapping->status_ = mapping->MapAll(info, file);
  return ShareInThisProcess(std::move(mapping));
}

RegionMapping::~RegionMapping() {
  for (const Mapped& mapped : mapped_) ::munmap(mapped.pages, mapped.bytes);
}

absl::Status RegionMapping::MapAll(const RegionInfo& info, const UniqueFd& file) {
  if (!info.flags.Has(RegionFlag::kMmap)) {
    return absl::UnimplementedError(fmt::format("{} is not mappable", info.index));
  }
  if (!file.valid()) {
    return absl::FailedPreconditionError(
        fmt::format("{} is mappable, but the server sends no descriptor", info.index));
  }
  const absl::StatusOr<File> about = Examine(file);
  if (!about.ok()) return Annotate(about.status(), fmt::format("mapping {}", info.index));
  sealed_ = about->sealed;
  page_bytes_ = about->page_bytes;
  file_bytes_ = about->bytes;

  std::vector<SparseArea> offered = {{.offset = 0, .size = info.size}};
  if (info.sparse_areas) offered = *info.sparse_areas;
  std::ranges::sort(offered, {}, &SparseArea::offset);
  absl::Status result;
  for (const SparseArea& area : offered) {
    if (area.size > 0) result.Update(MapArea(info, area, file));
  }
  if (areas_.empty() && result.ok()) {
    return absl::FailedPreconditionError(
        fmt::format("{} is mappable, but no part of it is", info.index));
  }
  return result;
}

absl::Status RegionMapping::MapArea(const RegionInfo& info, const SparseArea& area,
                                    const UniqueFd& file) {
  const std::string what =
      fmt::format("mapping [{:#x}, +{:#x}) of {}", area.offset, area.size, info.index);
  if (!areas_.empty() && area.offset - areas_.back().offset < areas_.back().size) {
    return absl::InvalidArgumentError(fmt::format("{}: it overlaps another area", what));
  }
  // RegionInfo::Parse has seen to it that this stays below 2^64.
  const uint64_t in_file = info.file_offset + area.offset;
  if (in_file > file_bytes_ || area.size > file_bytes_ - in_file) {
    return absl::OutOfRangeError(
        fmt::format("{}: it begins at {:#x} of a file of {:#x} bytes", what, in_file, file_bytes_));
  }
  if (in_file % page_bytes_ != 0 || in_file > INT64_MAX || area.size > SIZE_MAX / 2) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: it begins at {:#x} of the file, want a multiple of the {} bytes of its pages", what,
        in_file, page_bytes_));
  }
  const int protection = (info.flags.Has(RegionFlag::kRead) ? PROT_READ : 0) |
                         (info.flags.Has(RegionFlag::kWrite) ? PROT_WRITE : 0);
  // Whole pages, because munmap() takes no less where they are huge.
  const size_t bytes = (area.size + page_bytes_ - 1) / page_bytes_ * page_bytes_;
  // Room first: afterwards there is nothing between mmap() and the one who unmaps.
  areas_.reserve(areas_.size() + 1);
  mapped_.reserve(mapped_.size() + 1);
  void* const pages =
      ::mmap(nullptr, bytes, protection, MAP_SHARED, file.get(), static_cast<off_t>(in_file));
  if (pages == MAP_FAILED) return ErrnoStatus(errno, what);
  areas_.push_back(area);
  mapped_.push_back({pages, bytes});
  return absl::OkStatus();
}

RegionMapping::Piece RegionMapping::FirstPiece(uint64_t offset, size_t length) const {
  // The first area that begins beyond `offset`; the one before it may hold it.
  const auto next = std::ranges::upper_bound(areas_, offset, {}, &SparseArea::offset);
  if (next != areas_.begin()) {
    const auto area = next - 1;
    const uint64_t within = offset - area->offset;
    if (within < area->size) {
      auto* const start =
          static_cast<std::byte*>(mapped_[static_cast<size_t>(area - areas_.begin())].pages);
      return {static_cast<size_t>(std::min<uint64_t>(length, area->size - within)), start + within};
    }
  }
  if (next == areas_.end()) return {length, nullptr};
  return {static_cast<size_t>(std::min<uint64_t>(length, next->offset - offset)), nullptr};
}

absl::Status RegionMapping::Read(const std::byte* at, std::span<std::byte> into) const {
  if (!sealed_) return GuardedRead(at, into);
  if (IsRegister(at, into.size())) {
    LoadRegister(at, into);
  } else {
    std::memcpy(into.data(), at, into.size());
  }
  return absl::OkStatus();
}

absl::Status RegionMapping::Write(std::span<const std::byte> from, std::byte* at) const {
  if (!sealed_) return GuardedWrite(from, at);
  if (IsRegister(at, from.size())) {
    StoreRegister(from, at);
  } else {
    std::memcpy(at, from.data(), from.size());
  }
  return absl::OkStatus();
}

}  // namespace vfio_user
