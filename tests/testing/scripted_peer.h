// The other end of a connection, played by the test.
#ifndef TESTS_TESTING_SCRIPTED_PEER_H_
#define TESTS_TESTING_SCRIPTED_PEER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/header.h"

namespace vfio_user {

// A client or a server that says what the test makes it say, byte by byte where that matters, and
// shows what it hears. It stands on system calls, and shares no code with what it tests but the
// header's layout.
//
// Every call ends: with DeadlineExceeded after `patience`. Stateless, so that one thread may send
// while another receives.
class ScriptedPeer {
 public:
  // One message, whole.
  struct Message {
    MessageHeader header;
    std::vector<uint8_t> body;
    std::vector<UniqueFd> fds;
  };

  // What one recvmsg() brought.
  struct Chunk {
    std::vector<uint8_t> bytes;  // Empty: the other end has closed.
    std::vector<UniqueFd> fds;
  };

  struct Connected;

  static constexpr absl::Duration kUsualPatience = absl::Seconds(20);

  // A peer, and the socket that is connected to it.
  static absl::StatusOr<Connected> Pair();

  // A client of whoever listens at `path`. Unavailable when too many wait there already and none is
  // let in within `patience`.
  static absl::StatusOr<ScriptedPeer> Connect(const std::string& path,
                                              absl::Duration patience = kUsualPatience);

  // Takes `socket`, a connected stream socket.
  explicit ScriptedPeer(UniqueFd socket, absl::Duration patience = kUsualPatience);

  // Sends `bytes` as they are, `fds` with the first of them. One sendmsg(), if there is room.
  absl::Status SendBytes(std::span<const uint8_t> bytes, std::span<const FdView> fds = {});

  // Sends one message, with the msg_size that it has.
  absl::Status Send(MessageHeader header, std::span<const uint8_t> body = {},
                    std::span<const FdView> fds = {});

  // Answers `command`, with success or with an errno.
  absl::Status Reply(const MessageHeader& command, std::span<const uint8_t> body = {},
                     std::span<const FdView> fds = {});
  absl::Status ReplyError(const MessageHeader& command, uint32_t wire_errno);

  // The next message. Unavailable when the connection ended instead; DataLoss for a msg_size that
  // cannot be, half a message, or descriptors that do not come with the first byte.
  absl::StatusOr<Message> Receive();

  // What is there, once something is; at most `bytes`.
  absl::StatusOr<Chunk> ReceiveChunk(size_t bytes);

  // OK once the other end closes; DataLoss when it sends instead.
  absl::Status ReceiveEof();

  // Plays the server's part in VERSION: receives it and answers with version 0.2 and `json`, all of
  // it, {"capabilities":{...}}, its NUL added here (none when `json` is empty). Returns what the
  // client sent.
  absl::StatusOr<Message> AnswerVersion(std::string_view json, std::span<const FdView> fds = {});

  // Plays the client's part in VERSION in the same way. Returns the server's reply.
  absl::StatusOr<Message> NegotiateVersion(std::string_view json);

  // Of each call from now on.
  void set_patience(absl::Duration patience) { patience_ = patience; }

  // Ends the connection, also for a thread that receives right now; Close() frees the descriptor.
  void Shutdown();
  void Close() { socket_.Reset(); }

  FdView fd() const { return socket_; }

 private:
  UniqueFd socket_;
  absl::Duration patience_;
};

struct ScriptedPeer::Connected {
  ScriptedPeer peer;
  UniqueFd socket;  // For the code under test.
};

}  // namespace vfio_user

#endif  // TESTS_TESTING_SCRIPTED_PEER_H_
