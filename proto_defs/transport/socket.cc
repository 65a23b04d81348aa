#include "proto_defs/transport/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <iterator>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/socket_address.h"
#include "proto_defs/transport/spin.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {
namespace {

// For how long recvmsg() blocks, before poll() is left to wait. It takes one system call where
// poll() and recvmsg() are two; but it knows nothing of deadlines, and must not wake an idle
// process for ever.
constexpr absl::Duration kReceiveBlocks = absl::Milliseconds(10);

constexpr size_t kControlBytes = CMSG_SPACE(sizeof(int) * kMaxFdsPerMessage);

absl::Status PeerClosed() { return ErrnoStatus(ECONNRESET, "the peer closed the connection"); }

// One for all: whoever waits for a slow reply is told so every few milliseconds, and should not
// allocate each time.
const absl::Status& NothingReceived() {
  static const absl::Status& status =
      *new absl::Status(absl::StatusCode::kDeadlineExceeded, "nothing received in time");
  return status;
}

absl::Status WaitFor(std::span<pollfd> entries, Deadline deadline) {
  while (true) {
    const int ready = ::poll(entries.data(), entries.size(), deadline.PollMilliseconds());
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "poll");
    if (!deadline.passed()) continue;
    if (entries.front().events == POLLIN) return NothingReceived();
    return absl::DeadlineExceededError("the peer does not read in time");
  }
}

absl::Status WaitFor(const UniqueFd& fd, short events, Deadline deadline) {
  pollfd entry = {.fd = fd.get(), .events = events, .revents = 0};
  return WaitFor({&entry, 1}, deadline);
}

// How one receiver waits for the first bytes: it tries without blocking while it may spin, then
// blocks in recvmsg(), once, then in poll().
class ReceiveWait {
 public:
  ReceiveWait(const Socket& socket, Deadline deadline, Deadline spin_until)
      : socket_(socket), deadline_(deadline), spin_(Earlier(spin_until, deadline)) {}

  // For the next recvmsg(); `bounded` says whether that blocks for kReceiveBlocks at most.
  int NextFlags(bool bounded) {
    if (spin_.on() || blocked_ || !bounded || deadline_.TimeLeft() < kReceiveBlocks) {
      return MSG_DONTWAIT;
    }
    blocked_ = true;
    return 0;
  }

  // After a recvmsg() that found nothing.
  absl::Status FoundNothing() {
    const bool spun = spin_.on();
    if (spin_.Again() || spun) return absl::OkStatus();
    if (deadline_.passed()) return NothingReceived();
    return socket_.WaitReadable(deadline_);
  }

 private:
  const Socket& socket_;
  const Deadline deadline_;
  Spin spin_;
  bool blocked_ = false;
};

// Puts `fds` into `control`, which must outlive the sending of `message`.
void AttachFds(msghdr& message, std::span<const FdView> fds, std::span<char> control) {
  if (fds.empty()) return;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
  std::memset(control.data(), 0, message.msg_controllen);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
  for (size_t i = 0; i < fds.size(); ++i) {
    const int fd = fds[i].get();
    std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(fd));
  }
}

std::vector<UniqueFd> TakeRights(msghdr& message) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      fds.emplace_back(fd);
    }
  }
  return fds;
}

// Drops the first `bytes` bytes of `parts`.
std::span<iovec> Advance(std::span<iovec> parts, size_t bytes) {
  while (!parts.empty() && bytes >= parts.front().iov_len) {
    bytes -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (!parts.empty()) {
    parts.front().iov_base = static_cast<char*>(parts.front().iov_base) + bytes;
    parts.front().iov_len -= bytes;
  }
  return parts;
}

msghdr MessageFor(std::span<iovec> parts) {
  msghdr message = {};
  message.msg_iov = parts.data();
  // The kernel refuses more in one call; the loop that calls again sends the rest.
  message.msg_iovlen = std::min<size_t>(parts.size(), IOV_MAX);
  return message;
}

}  // namespace

Socket::Socket(UniqueFd fd) : fd_(std::move(fd)) {
  const timeval timeout = absl::ToTimeval(kReceiveBlocks);
  bounded_receive_ =
      ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0;
}

absl::StatusOr<Socket> Socket::Adopt(UniqueFd fd) {
  int domain = 0;
  int type = 0;
  socklen_t length = sizeof(int);
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 ||
      ::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &length) != 0) {
    return absl::InvalidArgumentError(fmt::format("descriptor {} is not a socket", fd.get()));
  }
  if (domain != AF_UNIX || type != SOCK_STREAM) {
    return absl::InvalidArgumentError(
        fmt::format("descriptor {} is not a UNIX stream socket", fd.get()));
  }
  sockaddr_un peer;
  socklen_t peer_length = sizeof(peer);
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &peer_length) != 0) {
    return absl::InvalidArgumentError(fmt::format("socket {} is not connected", fd.get()));
  }
  // Credentials would come as control data, where only descriptors are expected.
  const int off = 0;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &off, sizeof(off)) != 0) {
    return ErrnoStatus(errno, "SO_PASSCRED");
  }
  if (::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) return ErrnoStatus(errno, "F_SETFD");
  return Socket(std::move(fd));
}

absl::StatusOr<Socket> Socket::Connect(const std::string& path, Deadline deadline) {
  VFIO_USER_ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::Of(path));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  while (true) {
    // connect() waits only when the server's queue of clients is full, and then this long.
    const timeval timeout = deadline.SocketTimeout();
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0) {
      return ErrnoStatus(errno, "SO_SNDTIMEO");
    }
    if (::connect(fd.get(), address.get(), address.length()) == 0) return Socket(std::move(fd));
    if (errno != EINTR) return address.ConnectError(errno);
  }
}

absl::StatusOr<std::pair<Socket, Socket>> Socket::Pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return ErrnoStatus(errno, "socketpair");
  }
  return std::pair(Socket(UniqueFd(fds[0])), Socket(UniqueFd(fds[1])));
}

absl::Status Socket::Send(std::span<iovec> parts, std::span<const FdView> fds, Deadline begin_by,
                          absl::Duration stall_timeout) {
  if (fds.size() > kMaxFdsPerMessage) {
    return absl::InvalidArgumentError(fmt::format("{} descriptors in one message, at most {} fit",
                                                  fds.size(), kMaxFdsPerMessage));
  }
  alignas(cmsghdr) char control[kControlBytes];
  bool begun = false;
  std::optional<Deadline> give_up;
  while (!parts.empty()) {
    msghdr message = MessageFor(parts);
    AttachFds(message, fds, control);
    const ssize_t sent = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      parts = Advance(parts, static_cast<size_t>(sent));
      fds = {};
      if (!begun) give_up.reset();
      begun = true;
    } else if (errno == EAGAIN) {
      if (!give_up) give_up = Deadline::In(stall_timeout);
      const absl::Status room =
          WaitFor(fd_, POLLOUT, begun ? *give_up : Earlier(begin_by, *give_up));
      if (!room.ok() && begun) {
        return absl::UnavailableError("the peer stopped reading within a message");
      }
      VFIO_USER_RETURN_IF_ERROR(room);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return PeerClosed();
    } else if (!fds.empty() && (errno == EBADF || errno == EINVAL)) {
      return absl::InvalidArgumentError("a descriptor is not open, or not one that can be passed");
    } else if (errno != EINTR) {
      return ErrnoStatus(errno, "sendmsg");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Socket::Received> Socket::Receive(std::span<uint8_t> into, Deadline deadline,
                                                 Deadline spin_until) {
  alignas(cmsghdr) char control[kControlBytes];
  ReceiveWait wait(*this, deadline, spin_until);
  while (true) {
    iovec part = {.iov_base = into.data(), .iov_len = into.size()};
    msghdr message = MessageFor({&part, 1});
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    const ssize_t got =
        ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC | wait.NextFlags(bounded_receive_));
    if (got >= 0) {
      // Owned before any check can return: the kernel has already put them into this process.
      Received received = {static_cast<size_t>(got), TakeRights(message)};
      if ((message.msg_flags & MSG_CTRUNC) != 0) {
        return absl::DataLossError("descriptors were lost: too many, or none left to be had");
      }
      return received;
    }
    if (errno == EAGAIN) {
      VFIO_USER_RETURN_IF_ERROR(wait.FoundNothing());
    } else if (errno == ECONNRESET) {
      return PeerClosed();
    } else if (errno != EINTR) {
      return ErrnoStatus(errno, "recvmsg");
    }
  }
}

absl::Status Socket::ReceiveAll(std::span<iovec> parts, Deadline deadline) {
  parts = Advance(parts, 0);
  while (!parts.empty()) {
    msghdr message = MessageFor(parts);
    const ssize_t got = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    if (got > 0) {
      if ((message.msg_flags & MSG_CTRUNC) != 0) {
        return absl::DataLossError("descriptors arrived in the middle of a message");
      }
      parts = Advance(parts, static_cast<size_t>(got));
    } else if (got == 0) {
      return PeerClosed();
    } else if (errno == EAGAIN) {
      VFIO_USER_RETURN_IF_ERROR(WaitReadable(deadline));
    } else if (errno == ECONNRESET) {
      return PeerClosed();
    } else if (errno != EINTR) {
      return ErrnoStatus(errno, "recvmsg");
    }
  }
  return absl::OkStatus();
}

absl::Status Socket::WaitReadable(Deadline deadline) const {
  return WaitFor(fd_, POLLIN, deadline);
}

absl::StatusOr<bool> Socket::WaitReadable(const Socket& one, const Socket& other, Deadline deadline,
                                          Deadline spin_until) {
  pollfd entries[] = {{.fd = one.fd_.get(), .events = POLLIN, .revents = 0},
                      {.fd = other.fd_.get(), .events = POLLIN, .revents = 0}};
  Spin spin(Earlier(spin_until, deadline));
  do {
    if (spin.on() && ::poll(entries, std::size(entries), 0) > 0) return entries[0].revents != 0;
  } while (spin.Again());
  VFIO_USER_RETURN_IF_ERROR(WaitFor(entries, deadline));
  return entries[0].revents != 0;
}

void Socket::Shutdown() { (void)::shutdown(fd_.get(), SHUT_RDWR); }

absl::StatusOr<PeerCredentials> Socket::GetPeerCredentials() const {
  ucred credentials = {};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return ErrnoStatus(errno, "SO_PEERCRED");
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace vfio_user
