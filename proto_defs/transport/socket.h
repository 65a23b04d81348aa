// A connected UNIX stream socket that carries bytes and descriptors.
#ifndef PROTO_DEFS_TRANSPORT_SOCKET_H_
#define PROTO_DEFS_TRANSPORT_SOCKET_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// Who is at the other end, as the kernel noted when the connection was made (SO_PEERCRED).
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Thread-safe in that one thread may send while another receives; two senders, or two receivers,
// must take turns. Errors: Unavailable when the peer is gone, DeadlineExceeded.
class Socket {
 public:
  // Takes `fd`, also on error. InvalidArgument unless it is a connected UNIX stream socket. It is
  // made close-on-exec.
  static absl::StatusOr<Socket> Adopt(UniqueFd fd);

  // Connects to the socket at `path`. NotFound when nothing is there, Unavailable when nobody
  // listens, InvalidArgument for a path that cannot be a socket's (too long, a directory).
  static absl::StatusOr<Socket> Connect(const std::string& path, Deadline deadline);

  // Two sockets connected to each other.
  static absl::StatusOr<std::pair<Socket, Socket>> Pair();

  // Sends all of `parts`, changing them on the way, and, with the first byte, `fds`. One sendmsg()
  // unless the socket's buffer is full. Nothing was sent after InvalidArgument, for more
  // descriptors than kMaxFdsPerMessage or one that cannot be passed, nor after DeadlineExceeded,
  // when there was no room by `begin_by`, or for `stall_timeout`. After any other error an unknown
  // number of bytes has been sent, and the connection is of no more use: Unavailable also when the
  // rest finds no room for `stall_timeout`. Looks at no clock where there is room.
  absl::Status Send(std::span<iovec> parts, std::span<const FdView> fds, Deadline begin_by,
                    absl::Duration stall_timeout);

  struct Received {
    size_t bytes = 0;  // 0: the peer closed its end.
    std::vector<UniqueFd> fds;
  };
  // One recvmsg() of at most `into`'s length, once something is there to be read. Descriptors are
  // owned by the result before anything is judged; more than kMaxFdsPerMessage are DataLoss. Does
  // not block before `spin_until`, but tries over and over.
  absl::StatusOr<Received> Receive(std::span<uint8_t> into, Deadline deadline,
                                   Deadline spin_until = Deadline::Past());

  // Fills all of `parts`, changing them on the way. Descriptors in the middle of the bytes are
  // DataLoss (the kernel closes them). Unavailable when the peer closes before the end.
  absl::Status ReceiveAll(std::span<iovec> parts, Deadline deadline);

  // Waits until there is something to read, or the peer has closed. DeadlineExceeded otherwise.
  absl::Status WaitReadable(Deadline deadline) const;

  // The same for whichever of the two is first; true when it is (also) `one`. Until `spin_until`
  // it looks over and over instead of blocking.
  static absl::StatusOr<bool> WaitReadable(const Socket& one, const Socket& other,
                                           Deadline deadline,
                                           Deadline spin_until = Deadline::Past());

  // Ends the connection in both directions; whoever waits in a call on it is woken.
  void Shutdown();

  absl::StatusOr<PeerCredentials> GetPeerCredentials() const;

  FdView fd() const { return fd_; }

 private:
  friend class Listener;

  explicit Socket(UniqueFd fd);

  UniqueFd fd_;
  // Whether recvmsg() blocks for a bounded time.
  bool bounded_receive_ = false;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_SOCKET_H_
