#include "server/events/event_poller.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>

#include "absl/status/status.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

constexpr uint64_t kStopId = 0;

absl::Status AddToEpoll(const UniqueFd& epoll, const UniqueFd& fd, uint64_t id) {
  // By edges, so that a counter which is left above 0 keeps the thread busy no longer than whoever
  // signals it: an eventfd that the client made a semaphore takes as many reads as it counts.
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.u64 = id}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event) == 0) return absl::OkStatus();
  // Of the kernel's memory, or of what fs.epoll.max_user_watches allows.
  if (errno == ENOMEM || errno == ENOSPC) {
    return WithCode(ErrnoStatus(errno, "epoll_ctl"), absl::StatusCode::kResourceExhausted);
  }
  return ErrnoStatus(errno, "epoll_ctl");
}

// The poller whose thread this is.
thread_local const EventPoller* current_poller = nullptr;

}  // namespace

absl::StatusOr<std::unique_ptr<EventPoller>> EventPoller::Create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return ErrnoStatus(errno, "epoll_create1");
  VFIO_USER_ASSIGN_OR_RETURN(EventFd stop, EventFd::Create());
  VFIO_USER_RETURN_IF_ERROR(AddToEpoll(epoll, stop.fd(), kStopId));
  std::unique_ptr<EventPoller> poller(new EventPoller(std::move(epoll), std::move(stop)));
  VFIO_USER_ASSIGN_OR_RETURN(
      poller->thread_, Thread::Start("vfio-events", [poller = poller.get()] { poller->Run(); }));
  return poller;
}

EventPoller::~EventPoller() {
  stop_.Signal();
  thread_.Join();
}

absl::StatusOr<EventPoller::Watch> EventPoller::Add(std::shared_ptr<const EventFd> event,
                                                    Handler handler) {
  const auto watched =
      std::make_shared<const Watched>(Watched{std::move(event), std::move(handler)});
  MutexLock lock(mu_);
  const uint64_t id = ++last_id_;
  // With the lock, so that the thread finds the entry when the event comes at once.
  VFIO_USER_RETURN_IF_ERROR(AddToEpoll(epoll_, watched->event->fd(), id));
  watched_.emplace(id, watched);
  return Watch(*this, id);
}

void EventPoller::Remove(uint64_t id) {
  std::shared_ptr<const Watched> watched;
  MutexLock lock(mu_);
  watched = std::move(watched_.extract(id).mapped());
  // Closing would not do it: the client has the eventfd too.
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watched->event->fd().get(), nullptr);
  if (current_poller == this) return;
  while (running_ == id) handled_.Wait(mu_);
}

void EventPoller::Run() {
  current_poller = this;
  std::array<epoll_event, 32> events;
  while (true) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    for (int i = 0; i < count; ++i) {
      const uint64_t id = events[static_cast<size_t>(i)].data.u64;
      if (id == kStopId) return;
      Handle(id);
    }
  }
}

void EventPoller::Handle(uint64_t id) {
  std::shared_ptr<const Watched> watched;
  {
    MutexLock lock(mu_);
    const auto found = watched_.find(id);
    if (found == watched_.end()) return;  // Removed since.
    watched = found->second;
    running_ = id;
  }
  watched->handler(*watched->event);
  // What the handler holds goes before those go on who wait for its end.
  watched.reset();
  MutexLock lock(mu_);
  running_.reset();
  handled_.NotifyAll();
}

}  // namespace vfio_user
