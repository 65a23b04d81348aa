#include "client/session/session.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {
namespace {

// Bytes of data that are read in one message. A reply of this size fits the buffer of a socket
// (208 KiB by default), so that the server never waits for us with it half sent, and it keeps
// other threads from their own replies for a few dozen microseconds at most. More per message is
// hardly faster.
constexpr uint32_t kReadBytes = 64 << 10;

// The same for writing, for servers that are known to read a message to its end: see
// kSafeWriteBytes.
constexpr uint32_t kWriteBytes = 64 << 10;

// Without a twin, threads and the application poll the main socket for the server's commands; with
// one, and no thread of ours, calls poll both.
MessageStream MainStream(Negotiated& negotiated, const SessionOptions& options) {
  negotiated.stream.set_read_ahead(negotiated.twin.has_value() &&
                                   options.dma_service == DmaService::kBackgroundThread);
  negotiated.stream.set_busy_poll(options.busy_poll);
  return std::move(negotiated.stream);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Session>> Session::Start(Negotiated negotiated,
                                                        const SessionOptions& options) {
  std::shared_ptr<Session> session =
      ShareInThisProcess(std::unique_ptr<Session>(new Session(std::move(negotiated), options)));
  if (options.dma_service == DmaService::kBackgroundThread) {
    VFIO_USER_RETURN_IF_ERROR(session->StartThread());
  }
  return session;
}

Session::Session(Negotiated negotiated, const SessionOptions& options)
    : options_(options),
      server_(negotiated.server),
      max_data_xfer_bytes_(static_cast<uint32_t>(std::min<uint64_t>(
          negotiated.max_data_xfer_bytes, negotiated.server.capabilities.MaxDataXferBytes()))),
      main_responder_(dma_table_, write_record_, negotiated.max_data_xfer_bytes),
      twin_responder_(dma_table_, write_record_, negotiated.max_data_xfer_bytes),
      main_(MainStream(negotiated, options),
            [this](IncomingCommand& command) { return main_responder_.Answer(command, main_); }) {
  if (!negotiated.twin) return;
  MessageStream::Options stream_options;
  stream_options.max_message_bytes = MaxIncomingMessageBytes(negotiated.max_data_xfer_bytes);
  stream_options.read_ahead = options.dma_service == DmaService::kBackgroundThread;
  stream_options.busy_poll = options.busy_poll;
  twin_.emplace(
      MessageStream(*std::move(negotiated.twin), stream_options),
      [this](IncomingCommand& command) { return twin_responder_.Answer(command, *twin_); });
  if (options.dma_service == DmaService::kPoll) main_.ServeWhileWaiting(*twin_);
}

Session::~Session() {
  Close(absl::CancelledError("the client closed the connection"));
  if (thread_.joinable()) thread_.join();
}

absl::Status Session::StartThread() {
  // The application's signals are for its own threads.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const absl::Cleanup restore = [&before] { ::pthread_sigmask(SIG_SETMASK, &before, nullptr); };
  try {
    thread_ = std::thread([this] { ServeInBackground(); });
  } catch (const std::system_error& error) {
    return ErrnoStatus(error.code().value(), "starting the thread that serves the device's DMA");
  }
  return absl::OkStatus();
}

void Session::ServeInBackground() {
  EndWithCommands(twin_ ? twin_->Serve() : main_.ServeWhenIdle());
}

void Session::EndWithCommands(const absl::Status& why) {
  // A server that has left may have answered before, and its replies be on the main socket still.
  if (twin_ && absl::IsUnavailable(why)) {
    main_.CloseAfterReplies(why);
  } else {
    Close(why);
  }
}

absl::Status Session::Call(Command command, const MessageContent& content, PendingCall& call) {
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  const absl::Status result =
      twin_ ? main_.Call(command, content, call, Deadline::In(options_.reply_timeout))
            : CallInTurn(command, content, call);
  if (result.ok()) return result;
  const absl::Status broken = main_.status();
  if (!broken.ok()) Close(broken);
  return result;
}

absl::Status Session::CallInTurn(Command command, const MessageContent& content,
                                 PendingCall& call) {
  const Deadline deadline = Deadline::In(options_.reply_timeout);
  if (!turn_.Take(deadline)) {
    // Not a missed deadline: those say that the server may have acted.
    return absl::ResourceExhaustedError(
        fmt::format("{}: not sent, other requests took all the time", CommandName(command)));
  }
  const absl::Cleanup give_back = [this] { turn_.GiveBack(); };
  return main_.Call(command, content, call, deadline);
}

absl::Status Session::CloseUndecided(Command command, const absl::Status& why) {
  if (!status().ok()) return why;
  const absl::Status reason =
      Annotate(why, fmt::format("connection closed, because what became of {} is not known",
                                CommandName(command)));
  Close(reason);
  return reason;
}

absl::Status Session::CloseBroken(const absl::Status& why) {
  const absl::Status reason = absl::DataLossError(
      fmt::format("the server broke the protocol: {}", std::string(why.message())));
  Close(reason);
  return reason;
}

void Session::Close(const absl::Status& reason) {
  main_.Close(reason);
  if (twin_) twin_->Close(reason);
}

uint32_t Session::max_read_bytes() const { return std::min(max_data_xfer_bytes_, kReadBytes); }

uint32_t Session::max_write_bytes() const {
  return std::min(max_data_xfer_bytes_, may_be_libvfio_user() ? kSafeWriteBytes : kWriteBytes);
}

uint32_t Session::max_message_fds() const {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(server_.capabilities.MaxMsgFds(), 1, kMaxFdsPerMessage));
}

int Session::poll_fd() const {
  if (options_.dma_service != DmaService::kPoll) return -1;
  return (twin_ ? *twin_ : main_).socket().fd().get();
}

absl::Status Session::Poll() {
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  const absl::Status served = commands().Poll();
  if (!served.ok()) EndWithCommands(served);
  return status();
}

absl::Status Session::status() const {
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  VFIO_USER_RETURN_IF_ERROR(main_.status());
  return twin_ ? twin_->status() : absl::OkStatus();
}

}  // namespace vfio_user
