#include "server/seat.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/wire/limits.h"
#include "server/connection.h"

namespace vfio_user {
namespace {

// The longest message without data of a transfer: SPDK asks for region information with 4,064
// bytes.
constexpr uint32_t kLeastMaxMessageBytes = 8192;

bool HungUp(FdView socket) {
  pollfd entry = {.fd = socket.get(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&entry, 1, 0) > 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Seat>> Seat::Create(std::unique_ptr<Device> device,
                                                   const Options& options, EventLog log) {
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<DeviceSlot> slot,
                             DeviceSlot::Create(std::move(device), options.device));
  std::unique_ptr<Seat> seat(new Seat(std::move(slot), options, std::move(log)));
  VFIO_USER_ASSIGN_OR_RETURN(seat->thread_, Thread::Start("vfio-protocol", [seat = seat.get()] {
                               seat->RunProtocolThread();
                             }));
  return seat;
}

Seat::~Seat() {
  Close();
  // Its client may have made a signal block on the very thread that would find out that it is gone.
  slot_->interrupts().DropAll();
  thread_.Join();
}

Seat::Answer Seat::Offer(std::optional<Socket>& socket) {
  MutexLock lock(mu_);
  if (closed_) return Answer::kBusy;
  if (taken_) {
    // Who has closed before this one connected is not to be in its way: one program after another
    // may use the device.
    const bool leaving = !socket_.has_value() || HungUp(*socket_);
    return leaving ? Answer::kWait : Answer::kBusy;
  }
  taken_ = true;
  socket_ = socket->fd();
  next_ = std::move(socket);
  socket.reset();
  changed_.NotifyOne();
  return Answer::kSeated;
}

bool Seat::vacant() const {
  MutexLock lock(mu_);
  return !taken_;
}

void Seat::Close() {
  MutexLock lock(mu_);
  closed_ = true;
  changed_.NotifyOne();
  if (socket_.has_value()) ::shutdown(socket_->get(), SHUT_RDWR);
}

void Seat::RunProtocolThread() {
  while (true) {
    std::optional<Socket> socket;
    {
      MutexLock lock(mu_);
      while (!closed_ && !next_.has_value()) changed_.Wait(mu_);
      if (closed_) return;
      socket.swap(next_);
    }
    ServeClient(*std::move(socket));
    {
      MutexLock lock(mu_);
      taken_ = false;
    }
    if (options_.on_left) options_.on_left();
  }
}

void Seat::ServeClient(Socket socket) {
  MessageStream stream(std::move(socket), {});
  absl::StatusOr<AcceptedClient> negotiated = NegotiateVersion(stream, options_.terms);
  if (!negotiated.ok()) {
    LogEnd(negotiated.status(), {.left = "left without VERSION", .lost = "turned away"});
    ForgetSocket();
    return;
  }
  stream.set_stall_timeout(options_.terms.timeout);
  stream.set_busy_poll(options_.busy_poll);
  stream.set_max_message_bytes(
      std::max(options_.terms.max_data_xfer_bytes + kMessageOverheadBytes, kLeastMaxMessageBytes));
  Connection connection(std::move(stream), *std::move(negotiated), *slot_, log_);
  LogEnd(connection.Serve(), {.left = "left", .lost = "lost"});
  ForgetSocket();
}

void Seat::LogEnd(const absl::Status& end, const EndWords& words) const {
  bool closed = false;
  {
    MutexLock lock(mu_);
    closed = closed_;
  }
  if (closed) {
    log_.Write("client disconnected: the server stops");
  } else if (absl::IsUnavailable(end)) {
    // To close the socket is how a client leaves: the protocol has no word for it.
    log_.Write(fmt::format("client {}", words.left));
  } else {
    log_.Write(fmt::format("client {}: {}", words.lost, std::string(end.message())));
  }
}

void Seat::ForgetSocket() {
  MutexLock lock(mu_);
  socket_.reset();
}

}  // namespace vfio_user
