#include "client/session/negotiation.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kNoVfioUserServer = "this does not answer like a vfio-user server";

absl::Status WrongAnswer(std::string_view what) {
  return absl::DataLossError(fmt::format("{}: {}", kNoVfioUserServer, what));
}

std::vector<uint8_t> Offer(uint32_t max_data_xfer_bytes) {
  VersionMessage offer;
  offer.capabilities.max_msg_fds = kMaxFdsPerMessage;
  offer.capabilities.max_data_xfer_size = max_data_xfer_bytes;
  offer.capabilities.write_multiple = true;
  offer.capabilities.twin_socket = TwinSocket{.supported = true, .fd_index = std::nullopt};
  return Serialize(offer);
}

// In words for somebody who only asked to connect.
absl::Status NoAnswer(const absl::Status& why) {
  switch (why.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return absl::DeadlineExceededError(
          "the server accepted the connection and does not answer: it may be busy with another "
          "client, or be no vfio-user server");
    case absl::StatusCode::kUnavailable:
      return Annotate(why,
                      "the server hung up instead of answering: it may have a client already, or "
                      "not like this one's version");
    case absl::StatusCode::kDataLoss:
      return Annotate(why, kNoVfioUserServer);
    default:
      return Annotate(why, "negotiating with the server");
  }
}

struct Answer {
  MessageHeader header;
  std::vector<uint8_t> body;
  std::vector<UniqueFd> fds;
};

absl::StatusOr<Answer> Ask(MessageStream& stream, uint32_t max_data_xfer_bytes, Deadline deadline) {
  const std::vector<uint8_t> offer = Offer(max_data_xfer_bytes);
  stream.set_stall_timeout(deadline.TimeLeft());
  const absl::Status sent = stream.Send(
      {.header = {.command = Command::kVersion}, .body = offer, .payload = {}, .fds = {}});
  // A server that refuses unasked may have hung up already; what it said is there to be read.
  if (!sent.ok() && !absl::IsUnavailable(sent)) return sent;
  VFIO_USER_RETURN_IF_ERROR(stream.socket().WaitReadable(deadline));
  // An answer that has begun must be complete by then too.
  stream.set_stall_timeout(deadline.TimeLeft());
  VFIO_USER_ASSIGN_OR_RETURN(MessageStream::Incoming incoming, stream.ReceiveHeader(deadline));
  Answer answer = {incoming.header, std::vector<uint8_t>(incoming.body_bytes),
                   std::move(incoming.fds)};
  VFIO_USER_RETURN_IF_ERROR(stream.ReceiveBody(answer.body));
  return answer;
}

absl::Status Refusal(const absl::Status& why) {
  if (ErrnoOf(why) != EBUSY) return Annotate(why, "the server does not take this client");
  return Annotate(WithCode(why, absl::StatusCode::kUnavailable),
                  "the server has a client already, try again when that one is gone");
}

absl::Status CheckHeader(const MessageHeader& header) {
  if (!header.is_reply() || header.command != Command::kVersion) {
    return WrongAnswer(fmt::format("command {} of type {}, want {}, a reply to VERSION",
                                   static_cast<uint16_t>(header.command), header.type,
                                   static_cast<uint16_t>(Command::kVersion)));
  }
  if (header.error_flag) return Refusal(PeerError(header.command, header.error));
  // Looked at last: a server that refuses before it was asked has no id to echo.
  if (header.msg_id != 0) return WrongAnswer(fmt::format("msg_id is {}, want 0", header.msg_id));
  return absl::OkStatus();
}

absl::StatusOr<VersionMessage> ReadVersion(std::span<const uint8_t> body) {
  const absl::StatusOr<VersionMessage> version = VersionMessage::Parse(body);
  if (!version.ok()) return WrongAnswer(std::string(version.status().message()));
  if (version->major != kProtocolMajor) {
    return absl::UnimplementedError(
        fmt::format("the server speaks version {}.{} of vfio-user, this client {}.{}",
                    version->major, version->minor, kProtocolMajor, kProtocolMinor));
  }
  return *version;
}

absl::StatusOr<Socket> TakeTwin(const TwinSocket& twin, std::vector<UniqueFd> fds) {
  if (!twin.fd_index || *twin.fd_index >= fds.size()) {
    return WrongAnswer(fmt::format(
        "twin_socket's fd_index is {}, and {} descriptors came",
        twin.fd_index ? fmt::to_string(*twin.fd_index) : std::string("missing"), fds.size()));
  }
  absl::StatusOr<Socket> socket = Socket::Adopt(std::move(fds[*twin.fd_index]));
  if (!socket.ok()) return WrongAnswer(std::string(socket.status().message()));
  return socket;
}

}  // namespace

uint32_t MaxIncomingMessageBytes(uint32_t max_data_xfer_bytes) {
  return std::max<uint32_t>(max_data_xfer_bytes, kDefaultMaxDataXferBytes) + kMessageOverheadBytes;
}

absl::StatusOr<Negotiated> Negotiate(Socket socket, uint32_t max_data_xfer_bytes,
                                     Deadline deadline) {
  MessageStream::Options options;
  const absl::Duration usual_stall_timeout = options.stall_timeout;
  options.max_message_bytes = kHeaderBytes + VersionMessage::kBytes + kMaxVersionDataBytes;
  MessageStream stream(std::move(socket), options);

  absl::StatusOr<Answer> answer = Ask(stream, max_data_xfer_bytes, deadline);
  if (!answer.ok()) return NoAnswer(answer.status());
  VFIO_USER_RETURN_IF_ERROR(CheckHeader(answer->header));
  VFIO_USER_ASSIGN_OR_RETURN(VersionMessage server, ReadVersion(answer->body));

  stream.set_stall_timeout(usual_stall_timeout);
  stream.set_max_message_bytes(MaxIncomingMessageBytes(max_data_xfer_bytes));
  Negotiated negotiated = {std::move(stream), std::nullopt, std::move(server), max_data_xfer_bytes};
  if (negotiated.server.capabilities.TwinSocketSupported()) {
    VFIO_USER_ASSIGN_OR_RETURN(
        negotiated.twin,
        TakeTwin(*negotiated.server.capabilities.twin_socket, std::move(answer->fds)));
  }
  return negotiated;
}

}  // namespace vfio_user
