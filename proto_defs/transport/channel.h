// Requests and replies, in both directions, over one message stream.
#ifndef PROTO_DEFS_TRANSPORT_CHANNEL_H_
#define PROTO_DEFS_TRANSPORT_CHANNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/header.h"

namespace vfio_user {

// A command that the peer sent, for a handler to answer.
struct IncomingCommand {
  MessageHeader header;
  std::span<const uint8_t> body;  // Valid until the handler returns.
  std::vector<UniqueFd> fds;
};

// What follows the header of a request or a reply; all of it borrowed until it is sent.
struct MessageContent {
  std::span<const uint8_t> body;
  std::span<const std::span<const std::byte>> payload;
  std::span<const FdView> fds;
};

// What becomes of descriptors that come with a reply. A request that asks for none closes them, so
// that a peer which sends some all the same does not use up this process's.
enum class ReplyFds { kClosed, kKept };

// One request and the place for its reply. It stays where it is, and alive, from Start until Wait
// has returned.
class PendingCall {
 public:
  explicit PendingCall(ReplyFds reply_fds = ReplyFds::kClosed) : reply_fds_(reply_fds) {}
  // The reply's body beyond its first `fixed_bytes` is received straight into `scatter`, piece
  // after piece, which is borrowed like the call itself.
  PendingCall(size_t fixed_bytes, std::span<const std::span<std::byte>> scatter)
      : fixed_bytes_(fixed_bytes), scatter_(scatter) {}
  PendingCall(const PendingCall&) = delete;
  PendingCall& operator=(const PendingCall&) = delete;

  // Of the reply; empty unless Wait returned OK.
  std::span<const uint8_t> body() const { return body_; }
  size_t scattered_bytes() const { return scattered_bytes_; }
  std::vector<UniqueFd> TakeFds() { return std::move(fds_); }

 private:
  friend class Channel;

  const ReplyFds reply_fds_ = ReplyFds::kClosed;
  const size_t fixed_bytes_ = SIZE_MAX;
  const std::span<const std::span<std::byte>> scatter_;

  // Guarded by the channel's mutex, but for the time that receiving_ is set: then the reading
  // thread alone fills the four above it.
  Command command_{};
  absl::InlinedVector<uint8_t, 32> body_;  // Most replies are no longer.
  std::vector<UniqueFd> fds_;
  size_t scattered_bytes_ = 0;
  bool receiving_ = false;
  bool waiting_ = false;
  bool done_ = false;
  absl::Status status_;
  CondVar changed_;
};

// Matches replies to requests, and gives the peer's commands to a handler. The library has no
// thread that only reads: who waits for a reply reads the socket itself, so that no hand-over to
// another thread is on the way of a reply, and passes on what belongs to others.
//
// Replies are matched by id *and* by direction: both sides number their commands, and they cross.
//
// A request whose deadline passed is forgotten, but its id is kept until its reply comes, which is
// then dropped. Everything that breaks the protocol or the connection breaks the channel for good:
// all calls, waiting and later, return that first error.
//
// A message whose size or type cannot be is answered with EINVAL before that, so that its sender
// knows why the connection ended.
//
// Thread-safe. Locks: send_mu_ and mu_ are never held together.
class Channel {
 public:
  // Answers with Reply or ReplyError, now or later, from any thread. An error that it returns
  // breaks the channel. Runs on whichever thread reads, one at a time, with no lock held; it must
  // not wait for a call of this channel, because meanwhile nobody reads. Not empty.
  using CommandHandler = std::function<absl::Status(IncomingCommand&)>;

  Channel(MessageStream stream, CommandHandler handler)
      : stream_(std::move(stream)), handler_(std::move(handler)) {}
  // No thread may be in a call.
  ~Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Sends a command. On error nothing is pending. The channel lives on after InvalidArgument, when
  // `content` cannot be sent, and ResourceExhausted, when the peer left no room for its first byte
  // until `deadline`, or for the stall timeout. Whoever starts many has to see that the replies are
  // read: a peer that cannot send them reads no more requests (seen after 487 small ones, with the
  // kernel's usual buffers).
  absl::Status Start(Command command, const MessageContent& content, PendingCall& call,
                     Deadline deadline);

  struct Request {
    Command command{};
    MessageContent content;  // Without descriptors.
    PendingCall* call = nullptr;
  };
  // Start for at least one, in this order, with one sendmsg() where there is room. All are pending,
  // or on error none.
  absl::Status StartMany(std::span<const Request> requests, Deadline deadline);

  // Sends a command that asks for no reply, and forgets it. Errors are those of Start. A reply that
  // comes all the same, as some servers send when it failed, is dropped.
  absl::Status Post(Command command, const MessageContent& content, Deadline deadline);

  // Waits for the reply to a started call. The errno of an error reply is kept (see PeerError).
  // DeadlineExceeded: none came in time, and whether the peer acted is not known.
  absl::Status Wait(PendingCall& call, Deadline deadline);

  // Makes Wait return `reason` (not OK) for a started call: at once, or after some milliseconds
  // where the waiting thread is the one that reads. The reply is dropped when it comes. Does
  // nothing once the reply has begun to arrive, or Wait has returned.
  void Cancel(PendingCall& call, const absl::Status& reason);

  // Start and Wait.
  absl::Status Call(Command command, const MessageContent& content, PendingCall& call,
                    Deadline deadline);

  // Answers `command`, unless it asked for no reply.
  absl::Status Reply(const MessageHeader& command, const MessageContent& content = {});
  absl::Status ReplyError(const MessageHeader& command, uint32_t wire_errno);
  // Reply, for a command that comes in numbers and takes next to no time: within Serve it is kept
  // until the commands of its kind that have arrived are handled, and goes out with their replies.
  // After a command that came with descriptors, where the kernel ends a receive, it takes one
  // more system call to know that none has. Only from the handler; without descriptors.
  absl::Status ReplySoon(const MessageHeader& command, const MessageContent& content = {});

  // Reads until the channel breaks, and returns why; or until `deadline` has passed and nothing is
  // there to be read, and returns OK. Waiting calls leave the reading to it.
  absl::Status Serve(Deadline deadline = Deadline::Never());

  // Reads whenever no call waits, until the channel breaks, and returns why.
  absl::Status ServeWhenIdle();

  // Handles what has arrived, `most` messages of it, without blocking for more; nothing if another
  // thread is reading.
  absl::Status Poll(size_t most = SIZE_MAX);

  // Breaks the channel with `reason` (not OK), waking every thread in it. The first reason stays.
  void Close(const absl::Status& reason);

  // The same, but calls whose replies have arrived get them, for a peer that is known to have left:
  // others get Unavailable.
  void CloseAfterReplies(const absl::Status& reason);

  // OK, or why the channel is broken.
  absl::Status status() const;

  const Socket& socket() const { return stream_.socket(); }

  // The three below are to be called before the channel is shared between threads.

  // Has calls that wait here serve also what arrives on `companion`, for a peer that must be
  // answered there before it replies here. Borrowed. Neither stream may read ahead.
  void ServeWhileWaiting(Channel& companion) { companion_ = &companion; }

  // Has a reply that answers nothing be answered with EINVAL too, before it breaks the channel,
  // also one that has the Error flag: for a server, whose peer would be told nothing otherwise.
  void RefuseStrayReplies() { stray_replies_ = StrayReplies::kRefuse; }

  void set_max_message_bytes(uint32_t bytes) { stream_.set_max_message_bytes(bytes); }

 private:
  // How many commands without a reply are remembered: those which a peer that answers them all the
  // same may not have answered yet. Clients post at most 128 before they wait.
  static constexpr size_t kMaxPosted = 512;

  enum class ReadResult { kMessage, kNothing };
  enum class StrayReplies { kBreak, kRefuse };

  // How long a reader waits for a message, and how long of that it spins (MessageStream).
  struct Patience {
    Deadline deadline = Deadline::Never();
    Deadline spin_until = Deadline::Past();
    bool several = false;  // Whether more than one reply is awaited.
  };

  // Serves the companion until there is something to read here (kMessage) or the deadline has
  // passed. Only with the reading role.
  absl::StatusOr<ReadResult> ServeCompanion(Patience patience);
  // Handles one message that has arrived; kNothing also when another thread is reading.
  absl::StatusOr<ReadResult> PollOne() ABSL_LOCKS_EXCLUDED(mu_);
  // Reads one message and does what it says. Only with the reading role.
  absl::StatusOr<ReadResult> ReadOne(Patience patience);
  // Receives the next header. The replies that were kept are sent before it waits for that or for
  // the body, and before a command of another kind.
  absl::StatusOr<MessageStream::Incoming> ReceiveHeader(Patience patience);
  void Keep(const MessageHeader& reply, const MessageContent& content);
  absl::Status SendKept() ABSL_LOCKS_EXCLUDED(mu_, send_mu_);
  // Tells the sender of a message that cannot be, before the channel breaks because of it.
  void Refuse(const MessageHeader& header) ABSL_LOCKS_EXCLUDED(mu_, send_mu_);
  absl::Status HandleCommand(MessageStream::Incoming incoming);
  absl::Status HandleReply(MessageStream::Incoming incoming);
  absl::Status ReceiveReply(MessageStream::Incoming incoming, PendingCall& call);
  // ReadOne with the role taken and given back around it.
  absl::StatusOr<ReadResult> ReadOneAsReader(Patience patience) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  bool WasPosted(uint16_t id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The call that `reply` answers; nullptr for one that is to be dropped.
  absl::StatusOr<PendingCall*> Claim(const MessageHeader& reply) ABSL_LOCKS_EXCLUDED(mu_);
  uint16_t NextId() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Abandon(PendingCall& call, const absl::Status& reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void HandOverReading() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Break(const absl::Status& reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Makes `call` wait for the reply to what is sent with the header returned.
  absl::StatusOr<MessageHeader> Expect(Command command, PendingCall& call)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Undoes that, for a request that was not sent.
  void Forget(uint16_t id, PendingCall& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Breaks the channel unless it was sent, or one that cannot be sent.
  absl::Status Send(const OutgoingMessage& message) ABSL_LOCKS_EXCLUDED(mu_) {
    return Send({&message, 1});
  }
  absl::Status Send(std::span<const OutgoingMessage> messages) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status SendUnlessLate(std::span<const OutgoingMessage> messages, Deadline deadline)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Receiving is the reading role's, sending is send_mu_'s: see MessageStream.
  MessageStream stream_;
  const CommandHandler handler_;
  Channel* companion_ = nullptr;
  StrayReplies stray_replies_ = StrayReplies::kBreak;
  Mutex send_mu_;

  mutable Mutex mu_;
  absl::Status broken_ ABSL_GUARDED_BY(mu_);
  // Whether a thread has the reading role.
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  int waiting_calls_ ABSL_GUARDED_BY(mu_) = 0;
  // How long Serve spins: from the last message on, however often it was called since. Who calls it
  // now and then for something else would spin each time.
  Deadline serve_spin_until_ ABSL_GUARDED_BY(mu_) = Deadline::Past();
  // Signalled when nobody reads and no call waits.
  CondVar idle_;
  absl::flat_hash_map<uint16_t, PendingCall*> pending_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<uint16_t> late_ ABSL_GUARDED_BY(mu_);
  // The ids of the last commands that were posted; the oldest is overwritten by the next.
  std::array<uint16_t, kMaxPosted> posted_ ABSL_GUARDED_BY(mu_) = {};
  uint64_t posted_count_ ABSL_GUARDED_BY(mu_) = 0;
  uint16_t next_id_ ABSL_GUARDED_BY(mu_) = 0;
  // The body of the command at hand; the reading role's. Kept, so that it is allocated once.
  std::vector<uint8_t> command_body_;
  // The replies of ReplySoon, all to commands of one kind, and their bodies; the reading role's.
  struct KeptReply {
    MessageHeader header;
    size_t body_bytes = 0;
  };
  bool serving_ = false;          // Whether the role is Serve's.
  bool command_had_fds_ = false;  // The command at hand.
  std::vector<KeptReply> kept_;
  std::vector<uint8_t> kept_bodies_;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_CHANNEL_H_
