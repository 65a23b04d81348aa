#include "server/acceptor.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// How long clients are left in the kernel's queue when the process has no descriptor left. Trying
// again at once would only burn the processor.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Create(absl::Duration patience) {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoStatus(errno, "eventfd");
  std::unique_ptr<Acceptor> acceptor(new Acceptor(std::move(wake), patience));
  VFIO_USER_ASSIGN_OR_RETURN(
      acceptor->thread_,
      Thread::Start("vfio-acceptor", [acceptor = acceptor.get()] { acceptor->Run(); }));
  return acceptor;
}

absl::Status Acceptor::Add(std::unique_ptr<Seat> seat, Listener listener) {
  return AddPlace(std::make_unique<Place>(Place{std::move(seat), std::move(listener)}));
}

absl::Status Acceptor::Add(std::unique_ptr<Seat> seat) {
  return AddPlace(std::make_unique<Place>(Place{std::move(seat), std::nullopt}));
}

absl::Status Acceptor::AddPlace(std::unique_ptr<Place> place) {
  {
    MutexLock lock(mu_);
    if (stopped_) return absl::FailedPreconditionError("the server has been stopped");
    places_.push_back(std::move(place));
  }
  Wake();
  return absl::OkStatus();
}

void Acceptor::Wake() const {
  const uint64_t one = 1;
  // A counter at its maximum has been signalled too.
  (void)!::write(wake_.get(), &one, sizeof(one));
}

void Acceptor::Stop() {
  MutexLock stop_lock(stop_mu_);
  std::vector<std::unique_ptr<Place>> places;
  {
    MutexLock lock(mu_);
    stopped_ = true;
  }
  Wake();
  thread_.Join();
  {
    MutexLock lock(mu_);
    places.swap(places_);
  }
  // All at once, so that the slowest device is what is waited for and not the sum of them.
  for (const auto& place : places) place->seat->Close();
}

void Acceptor::Run() {
  do {
    std::vector<pollfd> entries = PollEntries();
    const Deadline deadline = std::min(
        line_.NextDeadline(), accept_again_,
        [](const Deadline& a, const Deadline& b) { return a.time_point() < b.time_point(); });
    (void)::poll(entries.data(), entries.size(), deadline.PollMilliseconds());
    uint64_t wakes = 0;
    (void)!::read(wake_.get(), &wakes, sizeof(wakes));
  } while (Tend());
  line_.Clear();
}

std::vector<pollfd> Acceptor::PollEntries() {
  std::vector<pollfd> entries = {{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
  line_.AppendPollEntries(entries);
  if (!accept_again_.never()) return entries;
  MutexLock lock(mu_);
  for (const auto& place : places_) {
    if (!place->listener.has_value()) continue;
    entries.push_back({.fd = place->listener->fd().get(), .events = POLLIN, .revents = 0});
  }
  return entries;
}

bool Acceptor::Tend() {
  std::vector<std::unique_ptr<Place>> left;
  MutexLock lock(mu_);
  if (stopped_) return false;
  if (accept_again_.passed()) accept_again_ = Deadline::Never();
  for (auto& place : places_) {
    if (place->listener.has_value()) {
      AcceptAll(*place);
    } else if (place->seat->vacant()) {
      left.push_back(std::move(place));
    }
  }
  std::erase_if(places_, [](const auto& place) { return place == nullptr; });
  // After the accepting, which may have brought more of them.
  line_.Tend();
  return true;
}

void Acceptor::AcceptAll(Place& place) {
  while (accept_again_.never()) {
    absl::StatusOr<std::optional<Socket>> client = place.listener->Accept();
    if (!client.ok()) {
      if (!std::exchange(out_of_descriptors_, true)) {
        place.seat->log().Write(fmt::format("no client can be taken in for now: {}",
                                            std::string(client.status().message())));
      }
      accept_again_ = Deadline::In(kAcceptPause);
      return;
    }
    if (!client->has_value()) return;
    out_of_descriptors_ = false;
    if (place.seat->Offer(*client) != Seat::Answer::kSeated) {
      line_.Add(**std::move(client), *place.seat);
    }
  }
}

}  // namespace vfio_user
