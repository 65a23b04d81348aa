#include "server/dma/file_io.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <string_view>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

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

// Of the files of procfs only memory is read without side effects and without waiting: a read of
// /proc/kmsg, for one, waits for the next message, and the device with it.
absl::Status CheckIsMemoryIfProcfs(FdView file) {
  struct statfs about = {};
  if (::fstatfs(file.get(), &about) != 0) return ErrnoStatus(errno, "DMA_MAP: fstatfs");
  if (about.f_type != PROC_SUPER_MAGIC) return absl::OkStatus();
  std::array<char, PATH_MAX> name;
  const ssize_t length =
      ::readlink(fmt::format("/proc/self/fd/{}", file.get()).c_str(), name.data(), name.size());
  if (length < 0) return ErrnoStatus(errno, "DMA_MAP: what the descriptor is of, in /proc/self/fd");
  const std::string_view path(name.data(), static_cast<size_t>(length));
  if (path.ends_with("/mem")) return absl::OkStatus();
  return ErrnoStatus(EINVAL, fmt::format("DMA_MAP: descriptor is of {}, want a process's mem or a "
                                         "file outside procfs",
                                         path));
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
  VFIO_USER_RETURN_IF_ERROR(CheckIsMemoryIfProcfs(file));
  return CheckFileAccess(file, access);
}

absl::Status CheckFileAccess(FdView file, DmaMapFlags access) {
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
  if (access.Has(DmaMapFlag::kWrite) && (flags & O_APPEND) != 0) {
    return ErrnoStatus(
        EINVAL, "DMA_MAP: descriptor appends (O_APPEND), and would not write where it is told");
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
