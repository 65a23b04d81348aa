#include "server/dma/mapped_file.h"

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
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// What matters here about where a file is.
struct FileSystem {
  uint64_t page_bytes = 0;
  bool huge_pages = false;
  bool has_sizes = true;
};

FileSystem FileSystemOf(FdView file) {
  FileSystem out = {.page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE))};
  struct statfs about = {};
  if (::fstatfs(file.get(), &about) != 0) return out;
  if (about.f_type == HUGETLBFS_MAGIC) {
    out.huge_pages = true;
    out.page_bytes = static_cast<uint64_t>(about.f_bsize);
  }
  out.has_sizes = about.f_type != PROC_SUPER_MAGIC;
  return out;
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
bool IsSealed(FdView file, const FileSystem& file_system) {
  if (file_system.huge_pages) return false;
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

absl::Status GuardedResult(const absl::Status& copied, uint64_t offset) {
  if (copied.ok() || ErrnoOf(copied) != EFAULT) return copied;
  return ErrnoStatus(EIO,
                     fmt::format("memory at {:#x} of the mapping is gone from its file", offset));
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Map(FdView file, FileRange range, DmaMapFlags access,
                                           MappingBudget& budget) {
  if (range.offset > INT64_MAX || range.size > INT64_MAX - range.offset) {
    return ErrnoStatus(EINVAL, fmt::format("DMA_MAP: offset {:#x} and size {:#x} go beyond what a "
                                           "file can have",
                                           range.offset, range.size));
  }
  const FileSystem file_system = FileSystemOf(file);
  // Sealed first: a file that is sealed now keeps the size that is seen next. And the size before
  // mmap(), which would make a file of huge pages longer.
  const bool sealed = IsSealed(file, file_system);
  if (file_system.has_sizes) VFIO_USER_RETURN_IF_ERROR(CheckWithinFile(file, range));

  VFIO_USER_ASSIGN_OR_RETURN(MappingBudget::Share share, budget.Take());
  const uint64_t page = file_system.page_bytes;
  const uint64_t before = range.offset % page;
  // Whole pages, because munmap() takes no less where they are huge.
  const uint64_t bytes = (before + range.size + page - 1) / page * page;
  void* const at = ::mmap(nullptr, bytes, ProtectionFor(access), MAP_SHARED, file.get(),
                          static_cast<off_t>(range.offset - before));
  if (at == MAP_FAILED) return ErrnoStatus(errno, "DMA_MAP: mmap of the descriptor");
  return MappedFile({.pages = at,
                     .pages_bytes = bytes,
                     .data = static_cast<std::byte*>(at) + before,
                     .sealed = sealed},
                    std::move(share));
}

MappedFile::~MappedFile() {
  if (view_.pages == nullptr) return;
  // It cannot fail: splitting what the kernel merged stays within what was counted.
  ::munmap(view_.pages, view_.pages_bytes);
}

absl::Status MappedFile::Read(uint64_t offset, std::span<std::byte> into) const {
  const std::byte* const from = view_.data + offset;
  if (!view_.sealed) return GuardedResult(GuardedRead(from, into), offset);
  std::memcpy(into.data(), from, into.size());
  return absl::OkStatus();
}

absl::Status MappedFile::Write(uint64_t offset, std::span<const std::byte> from) const {
  std::byte* const to = view_.data + offset;
  if (!view_.sealed) return GuardedResult(GuardedWrite(from, to), offset);
  std::memcpy(to, from.data(), from.size());
  return absl::OkStatus();
}

}  // namespace vfio_user
