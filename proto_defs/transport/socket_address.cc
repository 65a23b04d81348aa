#include "proto_defs/transport/socket_address.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {

absl::StatusOr<SocketAddress> SocketAddress::Of(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the socket path is empty");
  if (path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("the socket path has a NUL in it");
  }
  SocketAddress out;
  constexpr size_t kMost = sizeof(out.address_.sun_path) - 1;
  if (path.size() > kMost) {
    return absl::InvalidArgumentError(
        fmt::format("socket path of {} bytes, at most {} fit: use a shorter one, or a relative one "
                    "from a nearer directory: {}",
                    path.size(), kMost, path));
  }
  out.path_ = path;
  out.address_.sun_family = AF_UNIX;
  std::memcpy(out.address_.sun_path, path.c_str(), path.size() + 1);
  return out;
}

absl::Status SocketAddress::ConnectError(int error) const {
  if (error == ENOENT || error == ENOTDIR) {
    return ErrnoStatus(error,
                       fmt::format("{}: no server there; start one, or check the path", path_));
  }
  if (error == EAGAIN) {
    return absl::DeadlineExceededError(
        fmt::format("{}: the server does not accept the connection; is it stuck?", path_));
  }
  if (error == EACCES) {
    return ErrnoStatus(
        error,
        fmt::format("{}: run as the user whose socket it is, or have it opened to you", path_));
  }
  if (error == EPROTOTYPE) {
    return ErrnoStatus(error, fmt::format("{}: not a stream socket; name the one that the server "
                                          "listens on",
                                          path_));
  }
  if (error != ECONNREFUSED) return ErrnoStatus(error, path_);
  struct stat file = {};
  // connect() says ECONNREFUSED both for a file that is no socket and for one that nobody serves.
  if (::stat(path_.c_str(), &file) == 0 && !S_ISSOCK(file.st_mode)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: not a socket; name the one that the server listens on", path_));
  }
  return ErrnoStatus(
      error, fmt::format("{}: the socket is there, but no server listens; start it again", path_));
}

}  // namespace vfio_user
