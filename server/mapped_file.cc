#include "server/mapped_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/guarded_copy.h"

namespace vfio_user {
namespace {

struct PageKind {
  uint64_t bytes = 0;
  bool huge = false;
};

PageKind PagesOf(FdView file) {
  struct statfs about = {};
  if (::fstatfs(file.get(), &about) == 0 && about.f_type == HUGETLBFS_MAGIC) {
    return {.bytes = static_cast<uint64_t>(about.f_bsize), .huge = true};
  }
  return {.bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)), .huge = false};
}

int ProtectionFor(DmaMapFlags access) {
  return (access.Has(DmaMapFlag::kRead) ? PROT_READ : 0) |
         (access.Has(DmaMapFlag::kWrite) ? PROT_WRITE : 0);
}

absl::Status CheckWithinFile(FdView file, FileRange range) {
  struct stat about = {};
  if (::fstat(file.get(), &about) != 0) return ErrnoStatus(errno, "DMA_MAP: fstat");
  const auto file_bytes = static_cast<uint64_t>(about.st_size);
  if (!S_ISREG(about.st_mode) ||
      (range.offset <= file_bytes && range.size <= file_bytes - range.offset)) {
    return absl::OkStatus();
  }
  return ErrnoStatus(EINVAL, fmt::format("DMA_MAP: offset {:#x} and size {:#x} go beyond the "
                                         "file's {:#x} bytes",
                                         range.offset, range.size, file_bytes));
}

// Whether no access to what lies within the file now can fail later. Huge pages can be punched out
// of a file that is sealed against shrinking, and then there may be none left for the next access.
bool IsSealed(FdView file, const PageKind& pages) {
  if (pages.huge) return false;
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

absl::Status GuardedResult(const absl::Status& copied, uint64_t offset) {
  if (copied.ok() || ErrnoOf(copied) != EFAULT) return copied;
  return ErrnoStatus(EIO,
                     fmt::format("memory at {:#x} of the mapping is gone from its file", offset));
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Map(FdView file, FileRange range, DmaMapFlags access) {
  const PageKind pages = PagesOf(file);
  const uint64_t before = range.offset % pages.bytes;
  if (range.offset > INT64_MAX || range.size > INT64_MAX - range.offset) {
    return ErrnoStatus(EINVAL, fmt::format("DMA_MAP: offset {:#x} and size {:#x} go beyond what a "
                                           "file can have",
                                           range.offset, range.size));
  }
  // munmap() takes whole pages only where they are huge.
  const uint64_t bytes = (before + range.size + pages.bytes - 1) / pages.bytes * pages.bytes;
  void* const at = ::mmap(nullptr, bytes, ProtectionFor(access), MAP_SHARED, file.get(),
                          static_cast<off_t>(range.offset - before));
  if (at == MAP_FAILED) return ErrnoStatus(errno, "DMA_MAP: mmap of the descriptor");
  MappedFile mapped(at, bytes);

  // Sealed first: a file that is sealed now keeps the size that is seen next.
  mapped.sealed_ = IsSealed(file, pages);
  const absl::Status within = CheckWithinFile(file, range);
  if (!within.ok()) return within;
  mapped.data_ = static_cast<std::byte*>(at) + before;
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)),
      pages_bytes_(other.pages_bytes_),
      data_(other.data_),
      sealed_(other.sealed_) {}

MappedFile::~MappedFile() {
  if (pages_ != nullptr) ::munmap(pages_, pages_bytes_);
}

absl::Status MappedFile::Read(uint64_t offset, std::span<std::byte> into) const {
  if (!sealed_) return GuardedResult(GuardedRead(data_ + offset, into), offset);
  std::memcpy(into.data(), data_ + offset, into.size());
  return absl::OkStatus();
}

absl::Status MappedFile::Write(uint64_t offset, std::span<const std::byte> from) const {
  if (!sealed_) return GuardedResult(GuardedWrite(from, data_ + offset), offset);
  std::memcpy(data_ + offset, from.data(), from.size());
  return absl::OkStatus();
}

}  // namespace vfio_user
