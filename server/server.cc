#include "server/server.h"

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "fmt/format.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/listener.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/limits.h"
#include "server/acceptor.h"
#include "server/event_log.h"
#include "server/events/event_poller.h"
#include "server/seat.h"

namespace vfio_user {
namespace {

absl::Status CheckOptions(const ServerOptions& options) {
  if (options.max_data_xfer_bytes == 0 ||
      options.max_data_xfer_bytes > kMaxAdvertisedDataXferBytes) {
    return absl::InvalidArgumentError(fmt::format("max_data_xfer_bytes is {}, want 1 to {}",
                                                  options.max_data_xfer_bytes,
                                                  kMaxAdvertisedDataXferBytes));
  }
  if (options.negotiation_timeout <= absl::ZeroDuration() ||
      options.dma_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("a timeout is not above 0");
  }
  if (options.busy_poll < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("busy_poll is below 0");
  }
  return absl::OkStatus();
}

}  // namespace

class Server::Impl {
 public:
  Impl(const ServerOptions& options, std::unique_ptr<EventPoller> poller,
       std::unique_ptr<Acceptor> acceptor)
      : options_(options), poller_(std::move(poller)), acceptor_(std::move(acceptor)) {}

  absl::StatusOr<std::unique_ptr<Seat>> MakeSeat(std::unique_ptr<Device> device,
                                                 std::string_view where) {
    Seat::Options seat;
    seat.device.dma = {.max_maps = options_.max_dma_maps,
                       .message_timeout = options_.dma_timeout,
                       .process_vm = options_.process_vm == ProcessVm::kOn};
    seat.device.poller = poller_.get();
    seat.terms = {.timeout = options_.negotiation_timeout,
                  .max_data_xfer_bytes = options_.max_data_xfer_bytes,
                  .max_dma_maps = options_.max_dma_maps};
    seat.busy_poll = options_.busy_poll;
    seat.on_left = [acceptor = acceptor_.get()] { acceptor->Wake(); };
    EventLog log(options_.log, fmt::format("{} {}", device->description().name, where));
    return Seat::Create(std::move(device), seat, std::move(log));
  }

  const ServerOptions& options() const { return options_; }
  Acceptor& acceptor() { return *acceptor_; }

  void Stop() {
    acceptor_->Stop();
    MutexLock lock(mu_);
    stopped_ = true;
    changed_.NotifyAll();
  }

  void WaitUntilStopped() {
    MutexLock lock(mu_);
    while (!stopped_) changed_.Wait(mu_);
  }

 private:
  const ServerOptions options_;
  const std::unique_ptr<EventPoller> poller_;
  const std::unique_ptr<Acceptor> acceptor_;  // Before the poller: it has the devices.

  Mutex mu_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Create(const ServerOptions& options) {
  VFIO_USER_RETURN_IF_ERROR(CheckOptions(options));
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<EventPoller> poller, EventPoller::Create());
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<Acceptor> acceptor,
                             Acceptor::Create(options.negotiation_timeout));
  return std::unique_ptr<Server>(
      new Server(std::make_unique<Impl>(options, std::move(poller), std::move(acceptor))));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { Stop(); }

absl::Status Server::Listen(const std::string& path, std::unique_ptr<Device> device) {
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<Seat> seat,
                             impl_->MakeSeat(std::move(device), fmt::format("at {}", path)));
  VFIO_USER_ASSIGN_OR_RETURN(Listener listener, Listener::Bind(path, impl_->options().socket_mode));
  return impl_->acceptor().Add(std::move(seat), std::move(listener));
}

absl::Status Server::Adopt(UniqueFd socket, std::unique_ptr<Device> device) {
  VFIO_USER_ASSIGN_OR_RETURN(std::optional<Socket> client, Socket::Adopt(std::move(socket)));
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<Seat> seat,
                             impl_->MakeSeat(std::move(device), "on an adopted socket"));
  (void)seat->Offer(client);  // It is new, and so nobody has it.
  return impl_->acceptor().Add(std::move(seat));
}

void Server::Run() { impl_->WaitUntilStopped(); }

void Server::Stop() { impl_->Stop(); }

}  // namespace vfio_user
