#include "tools/vfio_user/input_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "tools/vfio_user/exit_code.h"

namespace vfio_user {

absl::StatusOr<InputFile> InputFile::Open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return UsageError(fmt::format("cannot read {}: {}; name a file that can be read", path,
                                  std::generic_category().message(errno)));
  }
  struct stat stat = {};
  if (::fstat(fd.get(), &stat) != 0) return ErrnoStatus(errno, fmt::format("cannot read {}", path));
  if (S_ISDIR(stat.st_mode)) {
    return UsageError(fmt::format("cannot read {}: it is a directory; name a file", path));
  }
  return InputFile(path, std::move(fd), stat);
}

std::optional<uint64_t> InputFile::size_hint() const {
  if (!S_ISREG(stat_.st_mode)) return std::nullopt;
  return static_cast<uint64_t>(stat_.st_size);
}

absl::StatusOr<size_t> InputFile::Read(std::span<std::byte> into) {
  size_t done = 0;
  while (done < into.size()) {
    if (stop_ != nullptr) VFIO_USER_RETURN_IF_ERROR(stop_->Await(fd_, POLLIN));
    const ssize_t count = ::read(fd_.get(), into.data() + done, into.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, fmt::format("cannot read {}", path_));
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

absl::Status InputFile::Seek(uint64_t offset) {
  if (::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_SET) >= 0) return absl::OkStatus();
  return ErrnoStatus(errno, fmt::format("cannot read {} from byte {}", path_, offset));
}

absl::StatusOr<std::vector<std::byte>> InputFile::ReadAll() {
  // One byte more than a regular file has, so that its end is seen at once.
  constexpr size_t kLeast = 4096;
  std::vector<std::byte> bytes;
  size_t filled = 0;
  do {
    bytes.resize(std::max({kLeast, 2 * filled, static_cast<size_t>(size_hint().value_or(0)) + 1}));
    const absl::StatusOr<size_t> count = Read(std::span(bytes).subspan(filled));
    if (!count.ok()) return count.status();
    filled += *count;
  } while (filled == bytes.size());
  bytes.resize(filled);
  return bytes;
}

}  // namespace vfio_user
