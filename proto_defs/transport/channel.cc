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
constexpr size_t kMaxLateReplies = 8192;

// After how long a thread that reads looks whether its call was cancelled: nothing on the socket
// says so. Rare enough to cost nothing, soon enough for a device that is being reset.
constexpr absl::Duration kCancelLatency = absl::Milliseconds(20);

// Not a missed deadline: those say that the peer may have acted.
absl::Status NotSent(Command command) {
  return absl::ResourceExhaustedError(
      fmt::format("{}: not sent, the peer does not read", CommandName(command)));
}

}  // namespace

absl::Status Channel::Start(Command command, const MessageContent& content, PendingCall& call,
                            Deadline deadline) {
  const Request request = {.command = command, .content = content, .call = &call};
  return StartMany({&request, 1}, deadline);
}

absl::Status Channel::StartMany(std::span<const Request> requests, Deadline deadline) {
  absl::InlinedVector<OutgoingMessage, 1> messages;
  messages.reserve(requests.size());
  absl::Status sent;
  {
    MutexLock lock(mu_);
    for (const auto& [command, content, call] : requests) {
      const absl::StatusOr<MessageHeader> header = Expect(command, *call);
      sent = header.status();
      if (!sent.ok()) break;
      messages.push_back({*header, content.body, content.payload, content.fds});
    }
  }
  if (sent.ok()) {
    sent = SendUnlessLate(std::span(messages.data(), messages.size()), deadline);
    // What broke the channel may have been a missed deadline too, and is returned as it is.
    if (absl::IsDeadlineExceeded(sent)) sent = NotSent(requests.front().command);
  }
  if (sent.ok()) return absl::OkStatus();
  MutexLock lock(mu_);
  for (size_t i = 0; i < messages.size(); ++i) Forget(messages[i].header.msg_id, *requests[i].call);
  return sent;
}

absl::StatusOr<MessageHeader> Channel::Expect(Command command, PendingCall& call) {
  if (!broken_.ok()) return broken_;
  if (pending_.size() + late_.size() > UINT16_MAX) {
    return absl::ResourceExhaustedError("65,536 requests are in flight");
  }
  MessageHeader header;
  header.command = command;
  header.msg_id = NextId();
  call.command_ = command;
  pending_.emplace(header.msg_id, &call);
  return header;
}

void Channel::Forget(uint16_t id, PendingCall& call) {
  // When the channel broke, the call may be in the hands of the reader still.
  while (call.receiving_) call.changed_.Wait(mu_);
  // By then the id may be another call's.
  const auto found = pending_.find(id);
  if (found != pending_.end() && found->second == &call) pending_.erase(found);
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
  const OutgoingMessage message = {header, content.body, content.payload, content.fds};
  const absl::Status sent = SendUnlessLate({&message, 1}, deadline);
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
      (void)ReadOneAsReader({.deadline = Earlier(deadline, Deadline::In(kCancelLatency)),
                             .spin_until = spin_until,
                             .several = pending_.size() > 1});
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
  if (!broken_.ok()) return broken_;
  serving_ = true;
  absl::StatusOr<ReadResult> result = ReadResult::kMessage;
  // Between two messages the role is given back and taken without letting go of mu_.
  while (broken_.ok() && *result == ReadResult::kMessage) {
    result = ReadOneAsReader({.deadline = deadline, .spin_until = serve_spin_until_});
    if (result.ok() && *result == ReadResult::kMessage) serve_spin_until_ = stream_.SpinUntil();
  }
  serving_ = false;
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

absl::Status Channel::Send(std::span<const OutgoingMessage> messages) {
  const absl::Status sent = SendUnlessLate(messages, Deadline::Never());
  if (!absl::IsDeadlineExceeded(sent)) return sent;
  MutexLock lock(mu_);
  Break(absl::UnavailableError("the peer does not read its replies"));
  return broken_;
}

absl::Status Channel::SendUnlessLate(std::span<const OutgoingMessage> messages, Deadline deadline) {
  absl::Status sent;
  {
    MutexLock lock(send_mu_);
    sent = stream_.Send(messages, deadline);
  }
  if (sent.ok() || absl::IsInvalidArgument(sent) || absl::IsDeadlineExceeded(sent)) return sent;
  MutexLock lock(mu_);
  Break(sent);
  return broken_;
}

}  // namespace vfio_user
