// The doorbells of a device that clients ring without messages.
#ifndef SERVER_EVENTS_DOORBELLS_H_
#define SERVER_EVENTS_DOORBELLS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "server/device.h"
#include "server/events/event_fd.h"
#include "server/events/event_poller.h"
#include "server/events/work_queue.h"

namespace vfio_user {

// An eventfd for each doorbell, made once and for all clients: one that is gone and has kept the
// descriptor can still ring, as it can still write to memory of the device that it has mapped.
//
// However often a doorbell is rung, no more than one piece of work for it waits for the worker.
// Thread-safe.
class Doorbells {
 public:
  // Runs Device::RingDoorbell on the thread of `work`. All are borrowed. ResourceExhausted where no
  // descriptor is to be had, or the kernel watches no more.
  static absl::StatusOr<std::unique_ptr<Doorbells>> Create(Device& device, WorkQueue& work,
                                                           EventPoller& poller);
  Doorbells(const Doorbells&) = delete;
  Doorbells& operator=(const Doorbells&) = delete;

  struct Offer {
    std::vector<IoFdEntry> entries;
    std::vector<FdView> fds;  // Of the entries, each once.
  };
  // The doorbells of a region: as many as `most_fds` descriptors allow, from the first.
  Offer Of(RegionIndex region, uint64_t most_fds) const;

  // Forgets what was rung and did not reach the device yet.
  void Drain();

 private:
  struct Bell {
    RegionIndex region{};
    DoorbellDescription place;
    std::shared_ptr<const EventFd> event;
    uint64_t rung = 0;    // Since the work for it began.
    bool posted = false;  // That work has not begun.
  };

  Doorbells(Device& device, WorkQueue& work) : device_(device), work_(work) {}

  absl::Status Add(RegionIndex region, const DoorbellDescription& place, EventPoller& poller);
  // The poller's.
  void Count(Bell& bell, uint64_t count) ABSL_LOCKS_EXCLUDED(mu_);
  // The worker's.
  void Ring(Bell& bell) ABSL_LOCKS_EXCLUDED(mu_);

  Device& device_;
  WorkQueue& work_;
  Mutex mu_;  // Of the two last members of each.
  std::deque<Bell> bells_;
  // Destroyed first, so that no handler runs when the rest goes.
  std::vector<EventPoller::Watch> watches_;
};

}  // namespace vfio_user

#endif  // SERVER_EVENTS_DOORBELLS_H_
