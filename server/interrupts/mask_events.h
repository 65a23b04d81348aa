// The eventfds through which a client masks and unmasks interrupts.
#ifndef SERVER_INTERRUPTS_MASK_EVENTS_H_
#define SERVER_INTERRUPTS_MASK_EVENTS_H_

#include <compare>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/irq.h"
#include "server/events/event_poller.h"
#include "server/interrupts/interrupt_table.h"

namespace vfio_user {

// Each signal of such an eventfd is a SET_IRQS of kNone for its vector. Thread-compatible.
class MaskEvents {
 public:
  // Both are borrowed.
  MaskEvents(InterruptTable& interrupts, EventPoller& poller)
      : interrupts_(interrupts), poller_(poller) {}

  // Does what SET_IRQS of kEventfd with kMask or kUnmask asks: takes a descriptor for each vector
  // in the place of the one before, or, where there are none, drops those. Errors are those of
  // InterruptTable::Apply, and ResourceExhausted where no more can be watched. On an error, no
  // change.
  absl::Status Apply(const SetIrqsRequest& request, std::vector<UniqueFd> fds);

  // None of the dropped masks anything any more when these return.
  void Drop(IrqIndex index);
  void DropAll() { watches_.clear(); }

 private:
  struct Key {
    IrqIndex index{};
    IrqAction action{};
    uint32_t vector = 0;

    friend auto operator<=>(const Key&, const Key&) = default;
  };

  absl::StatusOr<EventPoller::Watch> Add(const Key& key, UniqueFd fd);

  InterruptTable& interrupts_;
  EventPoller& poller_;
  std::map<Key, EventPoller::Watch> watches_;
};

}  // namespace vfio_user

#endif  // SERVER_INTERRUPTS_MASK_EVENTS_H_
