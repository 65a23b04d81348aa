// Messages on a socket: a header that says how long the message is, and a body.
#ifndef PROTO_DEFS_TRANSPORT_MESSAGE_STREAM_H_
#define PROTO_DEFS_TRANSPORT_MESSAGE_STREAM_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/read_ahead.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/header.h"

namespace vfio_user {

// A message to be sent, all of it borrowed until the call returns.
struct OutgoingMessage {
  MessageHeader header;  // Its msg_size is filled in when sent.
  std::span<const uint8_t> body;
  // Follows `body` on the wire, gathered from where it lies.
  std::span<const std::span<const std::byte>> payload;
  std::span<const FdView> fds;
};

// Knows framing and no command. One thread may send while another receives; whoever sends, and
// whoever receives, must be alone (transport/channel.h sees to that).
class MessageStream {
 public:
  struct Options {
    // A longer message is refused before anything is allocated for it.
    uint32_t max_message_bytes = kDefaultMaxMessageBytes;
    // How long a message that has begun, in either direction, may take to be complete. Without it
    // a peer that stops halfway would hold whoever reads for ever.
    absl::Duration stall_timeout = absl::Seconds(5);
    // Whether one recvmsg() may take a header, its body and what follows, instead of a header
    // alone (measured: two for each message make a register read 1.2 times as slow). Then only this
    // object knows whether there is something to read, and nobody may poll the descriptor for it.
    bool read_ahead = false;
    // How long whoever waits for a message tries over and over before it blocks: see Spin. What is
    // waited for then comes without a wake-up, and a processor is busy meanwhile.
    absl::Duration busy_poll = absl::ZeroDuration();
  };

  MessageStream(Socket socket, const Options& options)
      : socket_(std::move(socket)), options_(options) {}

  // Nothing was sent after InvalidArgument, for a message that is too long for its header to say,
  // nor after DeadlineExceeded, when there was no room for its first byte by `begin_by` or within
  // the stall timeout. After any other error the connection is of no more use.
  absl::Status Send(const OutgoingMessage& message, Deadline begin_by = Deadline::Never()) {
    return Send({&message, 1}, begin_by);
  }
  // At least one, together, with one sendmsg() where there is room for them. A message with
  // descriptors must be alone.
  absl::Status Send(std::span<const OutgoingMessage> messages,
                    Deadline begin_by = Deadline::Never());

  struct Incoming {
    MessageHeader header;
    size_t body_bytes = 0;  // To be received next.
    std::vector<UniqueFd> fds;
  };
  // Waits for the next message and reads its header. DeadlineExceeded when none began in time, and
  // then nothing was read. DataLoss for a msg_size that is too small or too large. `spin_until` is
  // Socket::Receive's.
  absl::StatusOr<Incoming> ReceiveHeader(Deadline deadline, Deadline spin_until = Deadline::Past());
  // The header whose msg_size was refused, for an answer before the end.
  const std::optional<MessageHeader>& refused_header() const { return refused_header_; }

  // Reads the body whose header was just read, whole or from its beginning: `parts` must be at most
  // body_bytes long in all. DataLoss when the peer closes or stops before its end.
  absl::Status ReceiveBody(std::span<iovec> parts);
  absl::Status ReceiveBody(std::span<uint8_t> body);
  absl::Status DiscardBody(size_t bytes);

  // How much is there after what was received last, without a system call.
  size_t read_ahead_bytes() const { return ahead_.size(); }

  // See Socket.
  void Shutdown() { socket_.Shutdown(); }
  const Socket& socket() const { return socket_; }
  void set_max_message_bytes(uint32_t bytes) { options_.max_message_bytes = bytes; }
  void set_read_ahead(bool read_ahead) { options_.read_ahead = read_ahead; }
  void set_stall_timeout(absl::Duration timeout) { options_.stall_timeout = timeout; }
  void set_busy_poll(absl::Duration busy_poll) { options_.busy_poll = busy_poll; }
  absl::Duration busy_poll() const { return options_.busy_poll; }
  // Until when to spin for who begins to wait now.
  Deadline SpinUntil() const {
    return options_.busy_poll > absl::ZeroDuration() ? Deadline::In(options_.busy_poll)
                                                     : Deadline::Past();
  }

 private:
  // Waits for the first bytes of a message.
  absl::Status FillAhead(Deadline deadline, Deadline spin_until);
  absl::Status ReceiveRestOfHeader(std::span<uint8_t> rest);
  Deadline CompleteBy();

  Socket socket_;
  Options options_;
  ReadAhead ahead_;
  // When the message that is being received must be complete; made out when some of it is missing,
  // because most come whole, and to look at the clock costs time too.
  std::optional<Deadline> complete_by_;
  std::optional<MessageHeader> refused_header_;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_MESSAGE_STREAM_H_
