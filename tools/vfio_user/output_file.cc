#include "tools/vfio_user/output_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "tools/vfio_user/exit_code.h"

namespace vfio_user {
namespace {

absl::Status CannotCreate(const std::string& path, int error) {
  return UsageError(fmt::format("cannot write {}: {}; name a place that can be written", path,
                                std::generic_category().message(error)));
}

absl::Status CannotWrite(const std::string& path, int error) {
  return ErrnoStatus(error, fmt::format("cannot write {}", path));
}

// What is at `path`, behind symbolic links; nullopt when nothing is.
absl::StatusOr<std::optional<struct stat>> Look(const std::string& path) {
  struct stat stat = {};
  if (::stat(path.c_str(), &stat) == 0) return stat;
  if (errno == ENOENT) return std::nullopt;
  return CannotCreate(path, errno);
}

bool IsStandardOutput(const struct stat& file) {
  struct stat output = {};
  return ::fstat(STDOUT_FILENO, &output) == 0 && output.st_dev == file.st_dev &&
         output.st_ino == file.st_ino;
}

}  // namespace

OutputFile::OutputFile(std::string path, std::string temporary_path, UniqueFd fd)
    : path_(std::move(path)), temporary_path_(std::move(temporary_path)), fd_(std::move(fd)) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_path_(std::exchange(other.temporary_path_, std::string())),
      fd_(std::move(other.fd_)),
      stop_(other.stop_) {}

OutputFile::~OutputFile() {
  if (!temporary_path_.empty()) ::unlink(temporary_path_.c_str());
}

absl::StatusOr<OutputFile> OutputFile::Create(const std::string& path) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::optional<struct stat> old, Look(path));
  if (!old.has_value()) return CreateBeside(path);
  if (S_ISDIR(old->st_mode)) {
    return UsageError(fmt::format("cannot write {}: it is a directory; name a file", path));
  }
  if (!S_ISREG(old->st_mode)) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid()) return CannotCreate(path, errno);
    // A pipe with room for a byte would otherwise block a long write; Write waits by itself.
    if (::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) return CannotCreate(path, errno);
    return OutputFile(path, "", std::move(fd));
  }
  // As /dev/stdout: whoever redirected it has the file open, and may have written to it.
  if (IsStandardOutput(*old)) {
    UniqueFd fd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    if (!fd.valid()) return CannotCreate(path, errno);
    return OutputFile(path, "", std::move(fd));
  }
  // rename() would replace a file that this user may not write.
  if (::access(path.c_str(), W_OK) != 0) return CannotCreate(path, errno);
  // The link's target is replaced, not the link.
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (error) return CannotCreate(path, error.value());
  VFIO_USER_ASSIGN_OR_RETURN(OutputFile file, CreateBeside(real.string()));
  if (::fchmod(file.fd_.get(), old->st_mode & 07777) != 0) return CannotWrite(path, errno);
  return file;
}

absl::StatusOr<OutputFile> OutputFile::CreateBeside(const std::string& path) {
  const std::filesystem::path place(path);
  // A name of its own: the process id, and a number for what another with that id left behind.
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::string name =
        fmt::format(".{}.{}-{}.tmp", place.filename().string().substr(0, 200), ::getpid(), attempt);
    std::string temporary = (place.parent_path() / name).string();
    UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (fd.valid()) return OutputFile(path, std::move(temporary), std::move(fd));
    if (errno != EEXIST) return CannotCreate(path, errno);
  }
  return CannotWrite(path, EEXIST);
}

absl::Status OutputFile::AwaitRoom() const {
  if (stop_ != nullptr) return stop_->Await(fd_, POLLOUT);
  pollfd poll_fd = {fd_.get(), POLLOUT, 0};
  if (::poll(&poll_fd, 1, -1) < 0 && errno != EINTR) return CannotWrite(path_, errno);
  return absl::OkStatus();
}

absl::Status OutputFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    VFIO_USER_RETURN_IF_ERROR(AwaitRoom());
    const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) return CannotWrite(path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Commit() {
  // Some file systems report a full disk only here.
  if (::close(fd_.Release()) != 0) return CannotWrite(path_, errno);
  if (temporary_path_.empty()) return absl::OkStatus();
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) return CannotWrite(path_, errno);
  temporary_path_.clear();
  return absl::OkStatus();
}

}  // namespace vfio_user
