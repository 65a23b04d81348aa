#include "tests/conformance/server/wire_client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

std::string ErrnoText(uint32_t error) {
  return fmt::format("{} ({})", error, std::strerror(static_cast<int>(error)));
}

std::string ErrnoTexts(std::initializer_list<int> errors) {
  std::vector<std::string> texts;
  for (const int error : errors) texts.push_back(ErrnoText(static_cast<uint32_t>(error)));
  return fmt::format("{}", fmt::join(texts, " or "));
}

}  // namespace

absl::StatusOr<WireClient> WireClient::Connect(const std::string& path, const Terms& terms) {
  const absl::Duration patience = std::min(terms.patience, terms.deadline.TimeLeft());
  VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer peer, ScriptedPeer::Connect(path, patience));
  return WireClient(std::move(peer), terms);
}

void WireClient::LimitPatience() {
  peer_.set_patience(std::min(terms_.patience, terms_.deadline.TimeLeft()));
}

absl::StatusOr<WireClient::Message> WireClient::Negotiate(std::string_view json) {
  LimitPatience();
  VFIO_USER_ASSIGN_OR_RETURN(Message reply, peer_.NegotiateVersion(json));
  if (!reply.header.is_reply() || reply.header.command != Command::kVersion) {
    return Misbehaved(fmt::format("{} instead of the reply to VERSION", reply.header));
  }
  return reply;
}

absl::Status WireClient::SendBytes(std::span<const uint8_t> bytes, std::span<const FdView> fds) {
  LimitPatience();
  return peer_.SendBytes(bytes, fds);
}

absl::Status WireClient::SendMessage(const MessageHeader& header, std::span<const uint8_t> body,
                                     std::span<const FdView> fds) {
  LimitPatience();
  return Annotate(peer_.Send(header, body, fds), CommandName(header.command));
}

absl::StatusOr<MessageHeader> WireClient::Send(const WireRequest& request) {
  MessageHeader header;
  header.msg_id = next_id_++;
  header.command = request.command;
  VFIO_USER_RETURN_IF_ERROR(SendMessage(header, request.body, request.fds));
  return header;
}

absl::StatusOr<WireClient::Message> WireClient::Receive() {
  LimitPatience();
  return peer_.Receive();
}

absl::StatusOr<WireClient::Message> WireClient::ReceiveReply(const MessageHeader& command) {
  absl::StatusOr<Message> reply = Receive();
  if (!reply.ok()) return Annotate(reply.status(), ToText(command.command));
  const MessageHeader& header = reply->header;
  if (!header.is_reply() || header.msg_id != command.msg_id || header.command != command.command) {
    return Misbehaved(fmt::format("\"{}\" came, want the reply to \"{}\"", header, command));
  }
  if (!header.error_flag && header.error != 0) {
    return Misbehaved(fmt::format("{}: an errno without the Error flag: {}", command.command,
                                  ErrnoText(header.error)));
  }
  return reply;
}

absl::StatusOr<size_t> WireClient::ReceiveOnce(size_t most) {
  LimitPatience();
  VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Chunk chunk, peer_.ReceiveChunk(most));
  return chunk.bytes.size();
}

absl::Status WireClient::ReceiveEnd() {
  LimitPatience();
  const absl::Status end = peer_.ReceiveEof();
  if (absl::IsDeadlineExceeded(end)) return Misbehaved("the connection is open, want it closed");
  return end;
}

absl::Status WireClient::ReceiveEndWithin(absl::Duration patience) {
  peer_.set_patience(std::min(patience, terms_.deadline.TimeLeft()));
  return peer_.ReceiveEof();
}

absl::Status WireClient::ReceiveRefusalAndEnd(const MessageHeader& command) {
  LimitPatience();
  const absl::StatusOr<Message> reply = peer_.Receive();
  if (absl::IsDeadlineExceeded(reply.status())) {
    return Misbehaved("neither an error reply nor the end of the connection");
  }
  if (absl::IsUnavailable(reply.status())) return absl::OkStatus();
  VFIO_USER_RETURN_IF_ERROR(reply.status());
  if (!reply->header.is_reply() || reply->header.msg_id != command.msg_id) {
    return Misbehaved(fmt::format("\"{}\" came, want an error reply, or the end", reply->header));
  }
  if (!reply->header.error_flag) return Misbehaved("accepted, want it refused");
  return ReceiveEnd();
}

absl::StatusOr<WireClient::Message> WireClient::Ask(const WireRequest& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader header, Send(request));
  return ReceiveReply(header);
}

absl::StatusOr<WireClient::Message> WireClient::Do(const WireRequest& request) {
  VFIO_USER_ASSIGN_OR_RETURN(Message reply, Ask(request));
  if (reply.header.error_flag) {
    return Misbehaved(fmt::format("{} refused with errno {}, want it done", request.command,
                                  ErrnoText(reply.header.error)));
  }
  return reply;
}

absl::Status WireClient::DoPlain(const WireRequest& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const Message reply, Do(request));
  if (reply.body.empty() && reply.fds.empty()) return absl::OkStatus();
  return Misbehaved(fmt::format("{}: a reply of {} bytes and {} descriptors, want none",
                                request.command, reply.body.size(), reply.fds.size()));
}

absl::Status WireClient::CheckRefusal(const Message& reply, std::initializer_list<int> usual) {
  const Command command = reply.header.command;
  if (!reply.header.error_flag) {
    return Misbehaved(fmt::format("{}: accepted, want it refused", command));
  }
  if (!reply.body.empty()) {
    Remark(fmt::format("{}: an error reply with {} bytes of body", command, reply.body.size()));
  }
  if (std::ranges::find(usual, static_cast<int>(reply.header.error)) == usual.end()) {
    Remark(fmt::format("{}: refused with errno {}, usual is {}", command,
                       ErrnoText(reply.header.error), ErrnoTexts(usual)));
  }
  return absl::OkStatus();
}

absl::Status WireClient::Refused(const WireRequest& request, std::initializer_list<int> usual) {
  VFIO_USER_ASSIGN_OR_RETURN(const Message reply, Ask(request));
  return CheckRefusal(reply, usual);
}

absl::Status WireClient::RefusedInStep(const WireRequest& request,
                                       std::initializer_list<int> usual) {
  VFIO_USER_RETURN_IF_ERROR(Refused(request, usual));
  return InStep();
}

void WireClient::Remark(std::string what) {
  std::vector<std::string>& remarks = *terms_.remarks;
  if (std::ranges::find(remarks, what) == remarks.end()) remarks.push_back(std::move(what));
}

bool WireClient::PeerIsOfOurUser() const {
  ucred peer = {};
  socklen_t length = sizeof(peer);
  return ::getsockopt(fd().get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
         peer.uid == ::geteuid();
}

absl::Status WireClient::InStep() {
  const absl::StatusOr<Message> reply =
      Do({.command = Command::kDeviceGetInfo, .body = Serialize(DeviceInfoRequest())});
  VFIO_USER_RETURN_IF_ERROR(Annotate(reply.status(), "afterwards"));
  return Annotate(DeviceInfo::Parse(reply->body).status(), "afterwards");
}

}  // namespace vfio_user
