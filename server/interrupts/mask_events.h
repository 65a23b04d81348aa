// The eventfds through which a client masks and unmasks interrupts.
#ifndef SERVER_INTERRUPTS_MASK_EVENTS_H_
#define SERVER_INTERRUPTS_MASK_EVENTS_H_

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/irq.h"
#include "server/events/event_fd.h"
#include "server/events/event_poller.h"
#include "server/interrupts/interrupt_table.h"

namespace vfio_user {

// Each signal of such an eventfd is a SET_IRQS of kNone for its vector, or for all of its vectors
// where the client gave it for several. Thread-compatible.
class MaskEvents {
 public:
  // Both are borrowed.
  MaskEvents(InterruptTable& interrupts, EventPoller& poller)
      : interrupts_(interrupts), poller_(poller) {}

  // Does what SET_IRQS of kEventfd with kMask or kUnmask asks: takes a descriptor for each vector
  // in the place of the one before, or, where there are none, drops those. Errors are those of
  // InterruptTable::Apply, and ResourceExhausted where no more can be watched. On an error, no
  // change, not even if one of the eventfds is signalled already.
  absl::Status Apply(const SetIrqsRequest& request, std::vector<UniqueFd> fds);

  // None of the dropped masks anything any more when these return.
  void Drop(IrqIndex index);
  void DropAll();

 private:
  struct Key {
    IrqIndex index{};
    IrqAction action{};
    uint32_t vector = 0;

    friend auto operator<=>(const Key&, const Key&) = default;
  };
  // Of an eventfd: the kernel's, or, where that gives none, a number of our own.
  using Id = std::pair<bool, uint64_t>;

  // One eventfd that is watched, once: of two who take its counter, one would find nothing. The
  // poller's thread handles it. Thread-safe.
  class Listener {
   public:
    Listener(InterruptTable& interrupts, EventFd event)
        : interrupts_(interrupts), event_(std::make_shared<const EventFd>(std::move(event))) {}

    absl::Status Watch(EventPoller& poller);
    void Add(const Key& key) ABSL_LOCKS_EXCLUDED(mu_);
    void Remove(const Key& key) ABSL_LOCKS_EXCLUDED(mu_);
    bool idle() const ABSL_LOCKS_EXCLUDED(mu_);
    // Masks or unmasks its vectors, if the eventfd was signalled and there are any.
    void Handle() ABSL_LOCKS_EXCLUDED(mu_);

   private:
    InterruptTable& interrupts_;
    const std::shared_ptr<const EventFd> event_;
    mutable Mutex mu_;  // Before that of interrupts_.
    std::set<Key> keys_ ABSL_GUARDED_BY(mu_);
    EventPoller::Watch watch_;
  };
  using Listeners = std::map<Id, std::unique_ptr<Listener>>;

  // New ones for those of the eventfds that have none; `ids` gets that of each.
  absl::StatusOr<Listeners> Listen(std::vector<EventFd> events, std::vector<Id>& ids);
  void Remove(const Key& key);

  InterruptTable& interrupts_;
  EventPoller& poller_;
  uint64_t last_id_ = 0;
  Listeners listeners_;  // Each of at least one key.
  std::map<Key, Id> events_;
};

}  // namespace vfio_user

#endif  // SERVER_INTERRUPTS_MASK_EVENTS_H_
