#include "proto_defs/transport/channel.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// Replies that may be overdue at once. Their ids cannot be used again until they come, and there
// are 65,536; a peer that owes this many has stopped answering.
constexpr size_t kMaxLateReplies = 1024;

// After how long a thread that reads looks whether its call was cancelled: nothing on the socket
// says so. Rare enough to cost nothing, soon enough for a device that is being reset.
constexpr absl::Duration kCancelLatency = absl::Milliseconds(20);

// How long a call waits for its own socket alone while another thread is serving the companion.
constexpr absl::Duration kCompanionBusy = absl::Milliseconds(1);

// Not a missed deadline: those say that the peer may have acted.
absl::Status NotSent(Command command) {
  return absl::ResourceExhaustedError(
      fmt::format("{}: not sent, the peer does not read", CommandName(command)));
}

}  // namespace

absl::Status Channel::Start(Command command, const MessageContent& content, PendingCall& call,
                            Deadline deadline) {
  MessageHeader header;
  header.command = command;
  {
    MutexLock lock(mu_);
    if (!broken_.ok()) return broken_;
    if (pending_.size() + late_.size() > UINT16_MAX) {
      return absl::ResourceExhaustedError("65,536 requests are in flight");
    }
    header.msg_id = NextId();
    call.command_ = command;
    pending_.emplace(header.msg_id, &call);
  }
  const absl::Status sent =
      SendUnlessLate({header, content.body, content.payload, content.fds}, deadline);
  if (sent.ok()) return absl::OkStatus();
  MutexLock lock(mu_);
  // When the channel broke, the call may be in the hands of the reader still.
  while (call.receiving_) call.changed_.Wait(mu_);
  // By then the id may be another call's.
  const auto found = pending_.find(header.msg_id);
  if (found != pending_.end() && found->second == &call) pending_.erase(found);
  return absl::IsDeadlineExceeded(sent) ? NotSent(command) : sent;
}

absl::Status Channel::Post(Command command, const MessageContent& content, Deadline deadline) {
  MessageHeader header;
  header.command = command;
  header.no_reply = true;
  {
    MutexLock lock(mu_);
    if (!broken_.ok()) return broken_;
    if (pending_.size() + late_.size() > UINT16_MAX) {
      return absl::ResourceExhaustedError("65,536 requests are in flight");
    }
    header.msg_id = NextId();
    posted_[posted_count_++ % kMaxPosted] = header.msg_id;
  }
  const absl::Status sent =
      SendUnlessLate({header, content.body, content.payload, content.fds}, deadline);
  return absl::IsDeadlineExceeded(sent) ? NotSent(command) : sent;
}

absl::Status Channel::Wait(PendingCall& call, Deadline deadline) {
  // Once for all that is read until the reply comes.
  const Deadline spin_until = stream_.SpinUntil();
  MutexLock lock(mu_);
  ++waiting_calls_;
  call.waiting_ = true;
  while (!call.done_) {
    if (!reading_) {
      // A broken channel has completed every call, so that its status need not be looked at.
      (void)ReadOneAsReader({Earlier(deadline, Deadline::In(kCancelLatency)), spin_until});
    } else if (deadline.never() || call.receiving_) {
      // A reply that has begun to arrive may not be left: the reader fills the call.
      call.changed_.Wait(mu_);
    } else {
      call.changed_.WaitUntil(mu_, deadline.time_point());
    }
    if (!call.done_ && !call.receiving_ && deadline.passed()) {
      Abandon(call, absl::DeadlineExceededError(
                        fmt::format("{}: no reply in time", CommandName(call.command_))));
    }
  }
  call.waiting_ = false;
  --waiting_calls_;
  HandOverReading();
  return call.status_;
}

void Channel::Cancel(PendingCall& call, const absl::Status& reason) {
  MutexLock lock(mu_);
  if (call.done_ || call.receiving_) return;
  Abandon(call, reason);
  call.changed_.NotifyAll();
}

absl::Status Channel::Call(Command command, const MessageContent& content, PendingCall& call,
                           Deadline deadline) {
  VFIO_USER_RETURN_IF_ERROR(Start(command, content, call, deadline));
  return Wait(call, deadline);
}

absl::Status Channel::Reply(const MessageHeader& command, const MessageContent& content) {
  if (command.no_reply) return absl::OkStatus();
  return Send({command.Reply(), content.body, content.payload, content.fds});
}

absl::Status Channel::ReplyError(const MessageHeader& command, uint32_t wire_errno) {
  if (command.no_reply) return absl::OkStatus();
  // Header only: libvfio-user does not read the body of an error reply, and would then take it
  // for the next message.
  return Send({.header = command.Reply(wire_errno), .body = {}, .payload = {}, .fds = {}});
}

absl::Status Channel::Serve(Deadline deadline) {
  MutexLock lock(mu_);
  while (reading_ && broken_.ok()) idle_.Wait(mu_);
  absl::StatusOr<ReadResult> result = ReadResult::kMessage;
  // Between two messages the role is given back and taken without letting go of mu_.
  while (broken_.ok() && *result == ReadResult::kMessage) {
    result = ReadOneAsReader({deadline, stream_.SpinUntil()});
  }
  HandOverReading();
  return broken_;
}

absl::Status Channel::ServeWhenIdle() {
  MutexLock lock(mu_);
  while (broken_.ok()) {
    if (reading_ || waiting_calls_ > 0) {
      idle_.Wait(mu_);
      continue;
    }
    // Without the role, so that a call that begins now can read its own reply. When this thread
    // wakes although somebody else reads, it goes back to waiting for its turn.
    mu_.Unlock();
    const absl::Status readable = stream_.socket().WaitReadable(Deadline::Never());
    mu_.Lock();
    if (!readable.ok()) Break(readable);
    if (reading_ || waiting_calls_ > 0 || !broken_.ok()) continue;
    (void)ReadOneAsReader({.deadline = Deadline::Past()});
    HandOverReading();
  }
  return broken_;
}

absl::Status Channel::Poll(size_t most) {
  absl::StatusOr<ReadResult> result = ReadResult::kMessage;
  for (; most > 0 && result.ok() && *result == ReadResult::kMessage; --most) result = PollOne();
  return result.status();
}

absl::StatusOr<Channel::ReadResult> Channel::PollOne() {
  MutexLock lock(mu_);
  if (!broken_.ok()) return broken_;
  if (reading_) return ReadResult::kNothing;
  const absl::StatusOr<ReadResult> result = ReadOneAsReader({.deadline = Deadline::Past()});
  HandOverReading();
  if (!broken_.ok()) return broken_;
  return result;
}

void Channel::Close(const absl::Status& reason) {
  MutexLock lock(mu_);
  Break(reason);
}

void Channel::CloseAfterReplies(const absl::Status& reason) {
  MutexLock lock(mu_);
  if (pending_.empty()) Break(reason);
  // What has arrived stays readable. Whoever waits for it then reads up to the end, which breaks
  // the channel.
  if (broken_.ok()) stream_.Shutdown();
}

absl::Status Channel::status() const {
  MutexLock lock(mu_);
  return broken_;
}

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
  auto incoming = stream_.ReceiveHeader(patience.deadline, patience.spin_until);
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

void Channel::Refuse(const MessageHeader& header) {
  // An answer to a reply could be taken for an answer to a command of the same id.
  if (header.is_reply() || header.no_reply) return;
  // Not by Send: why the connection ends is what was received, not that this could not be sent.
  MutexLock lock(send_mu_);
  (void)stream_.Send({.header = header.Reply(EINVAL), .body = {}, .payload = {}, .fds = {}});
}

absl::Status Channel::HandleCommand(MessageStream::Incoming incoming) {
  command_body_.resize(incoming.body_bytes);
  VFIO_USER_RETURN_IF_ERROR(stream_.ReceiveBody(command_body_));
  IncomingCommand command = {incoming.header, command_body_, std::move(incoming.fds)};
  return handler_(command);
}

absl::Status Channel::HandleReply(MessageStream::Incoming incoming) {
  VFIO_USER_ASSIGN_OR_RETURN(PendingCall* const call, Claim(incoming.header));
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
    if (reply.error_flag || WasPosted(reply.msg_id)) return nullptr;
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
  call.fds_ = std::move(incoming.fds);
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

uint16_t Channel::NextId() {
  while (pending_.contains(next_id_) || late_.contains(next_id_)) ++next_id_;
  return next_id_++;
}

void Channel::Abandon(PendingCall& call, const absl::Status& reason) {
  const auto found = std::find_if(pending_.begin(), pending_.end(),
                                  [&call](const auto& entry) { return entry.second == &call; });
  if (found != pending_.end()) {
    late_.insert(found->first);
    pending_.erase(found);
  }
  call.done_ = true;
  call.status_ = reason;
  if (late_.size() > kMaxLateReplies) {
    Break(absl::DeadlineExceededError(
        fmt::format("the peer left {} requests unanswered", late_.size())));
  }
}

void Channel::HandOverReading() {
  if (reading_) return;
  if (waiting_calls_ == 0) {
    idle_.NotifyOne();
    return;
  }
  for (const auto& [id, call] : pending_) {
    if (!call->waiting_) continue;
    call->changed_.NotifyAll();
    return;
  }
}

void Channel::Break(const absl::Status& reason) {
  if (!broken_.ok()) return;
  broken_ = reason;
  // Wakes whoever reads or sends. The descriptor stays open until nobody can be using it.
  stream_.Shutdown();
  for (const auto& [id, call] : pending_) {
    call->done_ = true;
    call->status_ = broken_;
    call->changed_.NotifyAll();
  }
  pending_.clear();
  idle_.NotifyAll();
}

absl::Status Channel::Send(const OutgoingMessage& message) {
  const absl::Status sent = SendUnlessLate(message, Deadline::Never());
  if (!absl::IsDeadlineExceeded(sent)) return sent;
  MutexLock lock(mu_);
  Break(absl::UnavailableError("the peer does not read its replies"));
  return broken_;
}

absl::Status Channel::SendUnlessLate(const OutgoingMessage& message, Deadline deadline) {
  absl::Status sent;
  {
    MutexLock lock(send_mu_);
    sent = stream_.Send(message, deadline);
  }
  if (sent.ok() || absl::IsInvalidArgument(sent) || absl::IsDeadlineExceeded(sent)) return sent;
  MutexLock lock(mu_);
  Break(sent);
  return broken_;
}

}  // namespace vfio_user
