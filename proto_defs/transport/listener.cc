#include "proto_defs/transport/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket_address.h"

namespace vfio_user {
namespace {

// Clients that may wait to be accepted. Each is accepted at once, if only to be refused.
constexpr int kBacklog = 64;

// How long to wait for whoever holds the lock on a directory. Servers hold it for microseconds;
// others may keep it for good (systemd-tmpfiles spares a directory that is locked), and must not
// keep a server from starting.
constexpr absl::Duration kLockPatience = absl::Milliseconds(500);

// Locks the directory that `path` is in, until the descriptor is closed: a socket that is bound
// and does not listen yet looks dead to another server that starts, which would remove it.
UniqueFd LockDirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Deadline deadline = Deadline::In(kLockPatience);
  while (fd.valid() && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
         !deadline.passed()) {
    (void)::poll(nullptr, 0, 1);
  }
  return fd;
}

absl::Status AnotherListens(const std::string& path) {
  return absl::AlreadyExistsError(
      fmt::format("{}: another server listens there; stop it or use another path", path));
}

absl::Status CannotListen(const std::string& path, int error) {
  const bool nowhere = error == ENOENT || error == ENOTDIR;
  return ErrnoStatus(error, fmt::format("{}: {}; {} another path", path,
                                        nowhere ? "its directory is not there" : "cannot listen",
                                        nowhere ? "make it or use" : "use"));
}

// Removes the socket at `address` if nobody listens on it.
absl::Status RemoveIfDead(const SocketAddress& address) {
  struct stat file = {};
  if (::lstat(address.path().c_str(), &file) != 0) {
    return errno == ENOENT ? absl::OkStatus() : CannotListen(address.path(), errno);
  }
  if (!S_ISSOCK(file.st_mode)) {
    return absl::AlreadyExistsError(fmt::format(
        "{}: something that is not a socket is in the way; remove it or use another path",
        address.path()));
  }
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return ErrnoStatus(errno, "socket");
  const int refused = ::connect(probe.get(), address.get(), address.length()) == 0 ? 0 : errno;
  // Only ECONNREFUSED proves that nobody listens: EAGAIN is a server with a full queue, EPROTOTYPE
  // one of datagrams, and other errors say nothing about one.
  if (refused == 0 || refused == EAGAIN || refused == EPROTOTYPE) {
    return AnotherListens(address.path());
  }
  if (refused != ECONNREFUSED) return ErrnoStatus(refused, address.path());
  if (::unlink(address.path().c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, fmt::format("removing the stale socket {}", address.path()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Listener> Listener::Bind(const std::string& path, mode_t mode) {
  VFIO_USER_ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::Of(path));
  const UniqueFd lock = LockDirectoryOf(path);
  VFIO_USER_RETURN_IF_ERROR(RemoveIfDead(address));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  // The mode of the descriptor is that of the file from its first moment, so that there is no
  // time in which others could connect. umask() would be the other way, but it is the process's.
  if (::fchmod(fd.get(), mode) != 0) return ErrnoStatus(errno, "fchmod");
  if (::bind(fd.get(), address.get(), address.length()) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) return AnotherListens(path);
    return CannotListen(path, error);
  }
  absl::Cleanup remove = [&path] { ::unlink(path.c_str()); };
  if (::chmod(path.c_str(), mode) != 0) return ErrnoStatus(errno, path);
  struct stat file = {};
  if (::lstat(path.c_str(), &file) != 0) return ErrnoStatus(errno, path);
  if (::listen(fd.get(), kBacklog) != 0) return ErrnoStatus(errno, fmt::format("listen {}", path));
  std::move(remove).Cancel();
  return Listener(std::move(fd), path, file.st_dev, file.st_ino);
}

Listener::~Listener() {
  if (!fd_.valid()) return;
  struct stat file = {};
  // Whoever put another file there meanwhile keeps it.
  if (::lstat(path_.c_str(), &file) != 0) return;
  if (file.st_dev == device_ && file.st_ino == inode_) ::unlink(path_.c_str());
}

absl::StatusOr<std::optional<Socket>> Listener::Accept() {
  UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return std::nullopt;
    return ErrnoStatus(errno, fmt::format("accepting a client at {}", path_));
  }
  return Socket(std::move(fd));
}

}  // namespace vfio_user
