// The reading role of Channel: what arrives, and whose it is.
#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/channel.h"

namespace vfio_user {
namespace {

// How long a call waits for its own socket alone while another thread is serving the companion.
constexpr absl::Duration kCompanionBusy = absl::Milliseconds(1);

// Replies that are kept, and how long each may be: so few that whoever waits for the first can go
// on while the rest are made, and so short that to copy one costs less than to send it.
constexpr size_t kMaxKeptReplies = 16;
constexpr size_t kMaxKeptReplyBytes = 4096;

size_t BytesOf(const MessageContent& content) {
  size_t bytes = content.body.size();
  for (const std::span<const std::byte> piece : content.payload) bytes += piece.size();
  return bytes;
}

}  // namespace

absl::StatusOr<Channel::ReadResult> Channel::ReadOneAsReader(Patience patience) {
  reading_ = true;
  mu_.Unlock();
  const auto result = ReadOne(patience);
  mu_.Lock();
  reading_ = false;
  if (!result.ok()) Break(result.status());
  return result;
}

absl::StatusOr<Channel::ReadResult> Channel::ServeCompanion(Patience patience) {
  do {
    const absl::StatusOr<bool> here = Socket::WaitReadable(socket(), companion_->socket(),
                                                           patience.deadline, patience.spin_until);
    if (absl::IsDeadlineExceeded(here.status())) return ReadResult::kNothing;
    VFIO_USER_RETURN_IF_ERROR(here.status());
    if (*here) return ReadResult::kMessage;
    VFIO_USER_ASSIGN_OR_RETURN(const ReadResult served, companion_->PollOne());
    if (served == ReadResult::kMessage) continue;
    // Another thread reads there, and poll() would go on saying that there is something.
    const Deadline again = Earlier(patience.deadline, Deadline::In(kCompanionBusy));
    if (socket().WaitReadable(again).ok()) return ReadResult::kMessage;
  } while (!patience.deadline.passed());
  return ReadResult::kNothing;
}

absl::StatusOr<Channel::ReadResult> Channel::ReadOne(Patience patience) {
  if (companion_ != nullptr) {
    VFIO_USER_ASSIGN_OR_RETURN(const ReadResult here, ServeCompanion(patience));
    if (here == ReadResult::kNothing) return here;
  }
  auto incoming = ReceiveHeader(patience);
  if (absl::IsDeadlineExceeded(incoming.status())) return ReadResult::kNothing;
  if (stream_.refused_header().has_value()) Refuse(*stream_.refused_header());
  VFIO_USER_RETURN_IF_ERROR(incoming.status());
  const MessageHeader& header = incoming->header;
  if (header.is_command()) {
    VFIO_USER_RETURN_IF_ERROR(HandleCommand(*std::move(incoming)));
  } else if (header.is_reply()) {
    VFIO_USER_RETURN_IF_ERROR(HandleReply(*std::move(incoming)));
  } else {
    Refuse(header);
    return absl::DataLossError(fmt::format("{}: message type is {}, want 0 (command) or 1 (reply)",
                                           CommandName(header.command), header.type));
  }
  return ReadResult::kMessage;
}

absl::StatusOr<MessageStream::Incoming> Channel::ReceiveHeader(Patience patience) {
  // The kernel wakes whoever blocks in recvmsg() also when the peer takes one of our messages, for
  // the room that this makes; of several that are under way, each would wake us for nothing.
  const bool is_there = companion_ != nullptr || stream_.read_ahead_bytes() > 0;
  if (patience.several && patience.spin_until.past() && !is_there) {
    VFIO_USER_RETURN_IF_ERROR(stream_.socket().WaitReadable(patience.deadline));
  }
  if (kept_.empty()) return stream_.ReceiveHeader(patience.deadline, patience.spin_until);
  auto incoming = stream_.ReceiveHeader(Deadline::Past());
  if (incoming.ok() && incoming->header.is_command() && kept_.size() < kMaxKeptReplies &&
      incoming->header.command == kept_.front().header.command &&
      incoming->body_bytes <= stream_.read_ahead_bytes()) {
    return incoming;
  }
  VFIO_USER_RETURN_IF_ERROR(SendKept());
  if (!absl::IsDeadlineExceeded(incoming.status())) return incoming;
  return stream_.ReceiveHeader(patience.deadline, patience.spin_until);
}

absl::Status Channel::ReplySoon(const MessageHeader& command, const MessageContent& content) {
  if (command.no_reply) return absl::OkStatus();
  const bool last = stream_.read_ahead_bytes() == 0 && !command_had_fds_;
  const bool alone = !serving_ || companion_ != nullptr || (last && kept_.empty());
  if (alone) return Reply(command, content);
  if (BytesOf(content) > kMaxKeptReplyBytes) {
    VFIO_USER_RETURN_IF_ERROR(SendKept());
    return Reply(command, content);
  }
  Keep(command.Reply(), content);
  return last ? SendKept() : absl::OkStatus();
}

void Channel::Keep(const MessageHeader& reply, const MessageContent& content) {
  kept_.push_back({reply, BytesOf(content)});
  kept_bodies_.insert(kept_bodies_.end(), content.body.begin(), content.body.end());
  for (const std::span<const std::byte> piece : content.payload) {
    const auto* const data = reinterpret_cast<const uint8_t*>(piece.data());
    kept_bodies_.insert(kept_bodies_.end(), data, data + piece.size());
  }
}

absl::Status Channel::SendKept() {
  if (kept_.empty()) return absl::OkStatus();
  absl::InlinedVector<OutgoingMessage, kMaxKeptReplies> messages;
  std::span<const uint8_t> bodies(kept_bodies_);
  for (const KeptReply& reply : kept_) {
    messages.push_back(
        {.header = reply.header, .body = bodies.first(reply.body_bytes), .payload = {}, .fds = {}});
    bodies = bodies.subspan(reply.body_bytes);
  }
  const absl::Status sent = Send(messages);
  kept_.clear();
  kept_bodies_.clear();
  return sent;
}

void Channel::Refuse(const MessageHeader& header) {
  // An answer to a reply could be taken for an answer to a command of the same id.
  if (header.is_reply() && stray_replies_ == StrayReplies::kBreak) return;
  if (header.no_reply) return;
  // Not by Send: why the connection ends is what was received, not that this could not be sent.
  MutexLock lock(send_mu_);
  (void)stream_.Send({.header = header.Reply(EINVAL), .body = {}, .payload = {}, .fds = {}});
}

absl::Status Channel::HandleCommand(MessageStream::Incoming incoming) {
  command_body_.resize(incoming.body_bytes);
  VFIO_USER_RETURN_IF_ERROR(stream_.ReceiveBody(command_body_));
  command_had_fds_ = !incoming.fds.empty();
  IncomingCommand command = {incoming.header, command_body_, std::move(incoming.fds)};
  const absl::Status handled = handler_(command);
  // The channel breaks, and what was done before is answered first.
  if (!handled.ok()) (void)SendKept();
  return handled;
}

absl::Status Channel::HandleReply(MessageStream::Incoming incoming) {
  const absl::StatusOr<PendingCall*> claimed = Claim(incoming.header);
  if (!claimed.ok()) Refuse(incoming.header);
  VFIO_USER_ASSIGN_OR_RETURN(PendingCall* const call, claimed);
  if (call == nullptr) return stream_.DiscardBody(incoming.body_bytes);

  const absl::Status received = ReceiveReply(std::move(incoming), *call);

  MutexLock lock(mu_);
  call->receiving_ = false;
  call->done_ = true;
  if (!received.ok()) {
    Break(received);
    call->status_ = broken_;
    call->body_.clear();
    call->fds_.clear();
    call->scattered_bytes_ = 0;
  }
  call->changed_.NotifyAll();
  return received;
}

absl::StatusOr<PendingCall*> Channel::Claim(const MessageHeader& reply) {
  MutexLock lock(mu_);
  const auto found = pending_.find(reply.msg_id);
  if (found == pending_.end()) {
    if (late_.erase(reply.msg_id) != 0) return nullptr;
    // Some servers answer a command that asked for no reply, most of them only if it failed.
    const bool may_fail = reply.error_flag && stray_replies_ == StrayReplies::kBreak;
    if (may_fail || WasPosted(reply.msg_id)) return nullptr;
    return absl::DataLossError(fmt::format("{}: reply with id {}, which no request has",
                                           CommandName(reply.command), reply.msg_id));
  }
  PendingCall& call = *found->second;
  if (reply.command != call.command_) {
    return absl::DataLossError(fmt::format("reply with id {} is to {}, want {}", reply.msg_id,
                                           CommandName(reply.command), CommandName(call.command_)));
  }
  pending_.erase(found);
  call.receiving_ = true;
  return &call;
}

absl::Status Channel::ReceiveReply(MessageStream::Incoming incoming, PendingCall& call) {
  if (incoming.header.error_flag) {
    call.status_ = PeerError(incoming.header.command, incoming.header.error);
    // The specification sends none, libvfio-user does.
    return stream_.DiscardBody(incoming.body_bytes);
  }
  if (call.reply_fds_ == ReplyFds::kKept) call.fds_ = std::move(incoming.fds);
  call.body_.resize(std::min(incoming.body_bytes, call.fixed_bytes_));
  absl::InlinedVector<iovec, 8> parts = {
      {.iov_base = call.body_.data(), .iov_len = call.body_.size()}};
  size_t left = incoming.body_bytes - call.body_.size();
  for (const std::span<std::byte> piece : call.scatter_) {
    const size_t bytes = std::min(left, piece.size());
    if (bytes > 0) parts.push_back({.iov_base = piece.data(), .iov_len = bytes});
    call.scattered_bytes_ += bytes;
    left -= bytes;
  }
  if (left > 0) {
    return absl::DataLossError(fmt::format("{}: reply of {} bytes, {} more than asked for",
                                           CommandName(call.command_), incoming.header.msg_size,
                                           left));
  }
  return stream_.ReceiveBody(std::span(parts.data(), parts.size()));
}

bool Channel::WasPosted(uint16_t id) const {
  const auto kept = std::span(posted_).first(std::min<size_t>(posted_count_, kMaxPosted));
  return std::ranges::find(kept, id) != kept.end();
}

}  // namespace vfio_user
