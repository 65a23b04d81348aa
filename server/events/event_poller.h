// The thread that waits for eventfds which clients signal: doorbells, and masks of interrupts.
#ifndef SERVER_EVENTS_EVENT_POLLER_H_
#define SERVER_EVENTS_EVENT_POLLER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/unique_fd.h"
#include "server/events/event_fd.h"
#include "server/events/thread.h"

namespace vfio_user {

// One thread for all devices of a server. Thread-safe.
class EventPoller {
 public:
  // Takes the counter of `event`, with its own lock where others take it too; it may be 0 then.
  // Runs on the poller's thread, for which everybody waits: it must not block, and hands on (see
  // WorkQueue) what takes long.
  using Handler = std::function<void(const EventFd& event)>;

  // Keeps an eventfd watched, and ends that when it is destroyed: the handler does not run any
  // more then. Waits for it if it runs now, and so not with a lock that the handler takes, but
  // on the handler's own thread, where it does not wait. Thread-compatible.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept
        : poller_(std::exchange(other.poller_, nullptr)), id_(other.id_) {}
    Watch& operator=(Watch&& other) noexcept {
      std::swap(poller_, other.poller_);
      std::swap(id_, other.id_);
      return *this;
    }
    ~Watch() {
      if (poller_ != nullptr) poller_->Remove(id_);
    }

   private:
    friend class EventPoller;
    Watch(EventPoller& poller, uint64_t id) : poller_(&poller), id_(id) {}

    EventPoller* poller_ = nullptr;
    uint64_t id_ = 0;
  };

  // ResourceExhausted where no thread or descriptor is to be had.
  static absl::StatusOr<std::unique_ptr<EventPoller>> Create();
  // No Watch may be left.
  ~EventPoller();
  EventPoller(const EventPoller&) = delete;
  EventPoller& operator=(const EventPoller&) = delete;

  // Calls `handler` when the counter of `event` is above 0 now, and whenever it is added to from
  // now on: once for all that was added meanwhile, and not again for what the handler leaves in it.
  // ResourceExhausted where the kernel lets this user watch no more.
  absl::StatusOr<Watch> Add(std::shared_ptr<const EventFd> event, Handler handler);

 private:
  struct Watched {
    std::shared_ptr<const EventFd> event;
    Handler handler;
  };

  EventPoller(UniqueFd epoll, EventFd stop) : epoll_(std::move(epoll)), stop_(std::move(stop)) {}

  void Remove(uint64_t id);
  void Run();
  void Handle(uint64_t id);

  const UniqueFd epoll_;
  const EventFd stop_;

  Mutex mu_;
  CondVar handled_;
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, std::shared_ptr<const Watched>> watched_ ABSL_GUARDED_BY(mu_);
  // Whose handler runs now.
  std::optional<uint64_t> running_ ABSL_GUARDED_BY(mu_);

  Thread thread_;
};

}  // namespace vfio_user

#endif  // SERVER_EVENTS_EVENT_POLLER_H_
