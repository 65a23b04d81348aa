#include "server/dma/file_pool.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// F_DUPFD_QUERY of fcntl(): whether two descriptors share an open file. In Linux since 6.10, and in
// few headers yet.
constexpr int kDupFdQuery = 1024 + 3;

// Kept for sockets, eventfds and whatever else this process opens.
constexpr rlim_t kReservedFds = 64;

// Descriptors are the lowest that are free, so that the number tells how many there are.
absl::Status CheckRoomFor(FdView fd) {
  struct rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return ErrnoStatus(errno, "getrlimit");
  const rlim_t reserved = std::min(kReservedFds, limit.rlim_cur / 4);
  if (static_cast<rlim_t>(fd.get()) < limit.rlim_cur - reserved) return absl::OkStatus();
  return ErrnoStatus(ENOSPC, fmt::format("DMA_MAP: this process may have {} descriptors, of which "
                                         "the last {} are not for clients' files",
                                         limit.rlim_cur, reserved));
}

}  // namespace

std::optional<bool> FilePool::IsSameOpenFile(FdView one, FdView other) {
  // A fifth of what kcmp() costs, which looks up first whether this process may look at itself.
  if (has_query_) {
    const int same = ::fcntl(one.get(), kDupFdQuery, other.get());
    if (same >= 0) return same == 1;
    has_query_ = errno != EINVAL;
  }
  const long order = ::syscall(SYS_kcmp, self_, self_, KCMP_FILE, one.get(), other.get());
  if (order < 0) return std::nullopt;
  return order == 0;
}

bool FilePool::IsLikelySameOpenFile(FdView one, FdView other) {
  const std::optional<bool> same = IsSameOpenFile(one, other);
  return same ? *same : ::fcntl(one.get(), F_GETFL) == ::fcntl(other.get(), F_GETFL);
}

absl::StatusOr<FilePool::File> FilePool::Find(FdView fd) {
  // Most mappings are of the file of the one before: one system call tells.
  File last = last_.lock();
  if (last != nullptr && IsSameOpenFile(last->fd, fd).value_or(false)) return last;
  struct stat about = {};
  if (::fstat(fd.get(), &about) != 0) return ErrnoStatus(errno, "fstat");
  const auto candidates = files_.find(FileId(about.st_dev, about.st_ino));
  if (candidates == files_.end()) return nullptr;
  for (const std::weak_ptr<const OpenFile>& candidate : candidates->second) {
    File file = candidate.lock();
    if (file == nullptr || !IsLikelySameOpenFile(file->fd, fd)) continue;
    last_ = file;
    return file;
  }
  return nullptr;
}

absl::StatusOr<FilePool::File> FilePool::Acquire(UniqueFd fd) {
  VFIO_USER_ASSIGN_OR_RETURN(File known, Find(fd));
  if (known != nullptr) return known;
  struct stat about = {};
  if (::fstat(fd.get(), &about) != 0) return ErrnoStatus(errno, "fstat");
  if (files_.size() >= forget_at_) Forget();
  OpenFiles& candidates = files_[FileId(about.st_dev, about.st_ino)];
  // The inode of a closed file may be another file's by now, so that the flags alone do not tell.
  candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                                  [](const auto& file) { return file.expired(); }),
                   candidates.end());
  VFIO_USER_RETURN_IF_ERROR(CheckRoomFor(fd));
  std::optional<ProcessMemory> process = ProcessMemory::Find(fd, client_);
  auto file = std::make_shared<const OpenFile>(OpenFile{std::move(fd), std::move(process)});
  candidates.push_back(file);
  last_ = file;
  return file;
}

void FilePool::Forget() {
  absl::erase_if(files_, [](const auto& entry) {
    return std::all_of(entry.second.begin(), entry.second.end(),
                       [](const auto& file) { return file.expired(); });
  });
  // Twice what is left: so that looking through all of them is rare, however many are in use.
  forget_at_ = std::max<size_t>(16, 2 * files_.size());
}

}  // namespace vfio_user
