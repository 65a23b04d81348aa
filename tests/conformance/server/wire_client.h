// A client that speaks bytes to the server under test.
#ifndef TESTS_CONFORMANCE_SERVER_WIRE_CLIENT_H_
#define TESTS_CONFORMANCE_SERVER_WIRE_CLIENT_H_

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

// What every client says of itself unless the check is about something else.
inline constexpr std::string_view kUsualJson =
    R"({"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576}})";

// One command, as a check wants it sent.
struct WireRequest {
  Command command{};
  std::vector<uint8_t> body = {};
  std::vector<FdView> fds = {};  // Borrowed.
};

// Sends and reads only when it is told to, on the caller's thread. Every call ends: at the latest
// when the server has said nothing for `patience`, or when the check's time is up. Errors are the
// server's misbehaviour in words: Unavailable when it closed, DeadlineExceeded when it is silent,
// DataLoss when it broke the protocol.
class WireClient {
 public:
  using Message = ScriptedPeer::Message;

  struct Terms {
    absl::Duration patience;  // With one answer.
    Deadline deadline;        // Of the check.
    // Where to put what is legal and still worth a word. Borrowed.
    std::vector<std::string>* remarks;
  };

  // Connects, and says nothing yet.
  static absl::StatusOr<WireClient> Connect(const std::string& path, const Terms& terms);

  // The other end of a connection that the server made.
  static WireClient Adopt(UniqueFd socket, const Terms& terms) {
    return WireClient(ScriptedPeer(std::move(socket)), terms);
  }

  // VERSION 0.2 with `json`, none when it is empty. Returns the server's reply, an error one too.
  absl::StatusOr<Message> Negotiate(std::string_view json);

  // As they are, the descriptors with the first byte.
  absl::Status SendBytes(std::span<const uint8_t> bytes, std::span<const FdView> fds = {});
  // With the msg_size that it has.
  absl::Status SendMessage(const MessageHeader& header, std::span<const uint8_t> body = {},
                           std::span<const FdView> fds = {});
  // With an id of its own. Returns its header.
  absl::StatusOr<MessageHeader> Send(const WireRequest& request);

  // The next message, whatever it is.
  absl::StatusOr<Message> Receive();
  // The next message, which has to be the reply to `command`: its id, its command, its type.
  absl::StatusOr<Message> ReceiveReply(const MessageHeader& command);
  // How many bytes one recvmsg() brings, of at most `most`.
  absl::StatusOr<size_t> ReceiveOnce(size_t most);
  // The server closes, without another byte.
  absl::Status ReceiveEnd();
  // The same, for a server that may take longer than it may for an answer.
  absl::Status ReceiveEndWithin(absl::Duration patience);
  // The server refuses: with an error reply to `command` or without, it closes.
  absl::Status ReceiveRefusalAndEnd(const MessageHeader& command);

  // Sends, and receives the reply, an error one too.
  absl::StatusOr<Message> Ask(const WireRequest& request);
  // The same, and the server must do it.
  absl::StatusOr<Message> Do(const WireRequest& request);
  // The same, and the reply must have no body.
  absl::Status DoPlain(const WireRequest& request);

  // The server must refuse, with an error reply. An errno other than the `usual` ones is worth a
  // remark, and so is a body.
  absl::Status Refused(const WireRequest& request, std::initializer_list<int> usual);
  // The same of a reply that was received.
  absl::Status CheckRefusal(const Message& reply, std::initializer_list<int> usual);
  // The same, and the connection is in step afterwards.
  absl::Status RefusedInStep(const WireRequest& request, std::initializer_list<int> usual);
  // DEVICE_GET_INFO is answered.
  absl::Status InStep();

  // Whether the server runs as the user of this process, so that nothing is kept from it anyway.
  bool PeerIsOfOurUser() const;

  // Says each thing once.
  void Remark(std::string what);

  // Ends the connection. The destructor does too.
  void Close() { peer_.Close(); }
  FdView fd() const { return peer_.fd(); }
  const Terms& terms() const { return terms_; }

 private:
  WireClient(ScriptedPeer peer, const Terms& terms) : peer_(std::move(peer)), terms_(terms) {}

  // No call may outlast the check.
  void LimitPatience();

  ScriptedPeer peer_;
  Terms terms_;
  uint16_t next_id_ = 0x100;
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_WIRE_CLIENT_H_
