#include "server/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {
namespace {

// pread() and pwrite(), but no points where a thread can be cancelled: glibc's cost two atomic
// operations for that as soon as there are threads, a twentieth of a small transfer. On 64 bits the
// offset is one argument.
static_assert(sizeof(long) == sizeof(uint64_t));
ssize_t ReadOnce(FdView file, uint64_t offset, std::span<std::byte> into) {
  return ::syscall(SYS_pread64, file.get(), into.data(), into.size(), offset);
}
ssize_t WriteOnce(FdView file, uint64_t offset, std::span<const std::byte> from) {
  return ::syscall(SYS_pwrite64, file.get(), from.data(), from.size(), offset);
}

// What a call on the file returned, which was not more than 0.
absl::Status TransferError(ssize_t result, uint64_t offset) {
  if (result == 0) {
    return absl::UnavailableError(
        fmt::format("the owner of the memory is gone: its file ends before offset {:#x}", offset));
  }
  return ErrnoStatus(errno, fmt::format("memory at file offset {:#x}", offset));
}

}  // namespace

absl::Status CheckFileIo(FdView file, DmaMapFlags access) {
  struct stat about = {};
  if (::fstat(file.get(), &about) != 0) return ErrnoStatus(errno, "DMA_MAP: fstat");
  if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode)) {
    return ErrnoStatus(
        EINVAL, fmt::format("DMA_MAP: descriptor's file type is {:#o}, want a regular file for "
                            "file I/O",
                            about.st_mode & S_IFMT));
  }
  const int flags = ::fcntl(file.get(), F_GETFL);
  if (flags < 0) return ErrnoStatus(errno, "DMA_MAP: F_GETFL");
  const int mode = flags & O_ACCMODE;
  const bool readable = (flags & O_PATH) == 0 && mode != O_WRONLY;
  const bool writable = (flags & O_PATH) == 0 && mode != O_RDONLY;
  if ((access.Has(DmaMapFlag::kRead) && !readable) ||
      (access.Has(DmaMapFlag::kWrite) && !writable)) {
    return ErrnoStatus(EACCES, fmt::format("DMA_MAP: descriptor was opened with flags {:#o}, want "
                                           "access for map flags {:#x}",
                                           flags, access.ToWire()));
  }
  return absl::OkStatus();
}

absl::Status ReadFileAt(FdView file, uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t bytes = ReadOnce(file, offset, into);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return TransferError(bytes, offset);
    offset += static_cast<uint64_t>(bytes);
    into = into.subspan(static_cast<size_t>(bytes));
  }
  return absl::OkStatus();
}

absl::Status WriteFileAt(FdView file, uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const ssize_t bytes = WriteOnce(file, offset, from);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return TransferError(bytes, offset);
    offset += static_cast<uint64_t>(bytes);
    from = from.subspan(static_cast<size_t>(bytes));
  }
  return absl::OkStatus();
}

}  // namespace vfio_user
