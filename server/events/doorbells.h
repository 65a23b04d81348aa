// The doorbells of a device that clients ring without messages.
#ifndef SERVER_EVENTS_DOORBELLS_H_
#define SERVER_EVENTS_DOORBELLS_H_

#include <cstddef>
#include <cstdint>
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

// An eventfd for each doorbell that the client asks for, made for this client and given up with it:
// one that is gone and has kept the descriptor rings nothing any more.
//
// However often a doorbell is rung, no more than one piece of work for it waits for the worker.
// Thread-safe, but for OfferOf and ClientGone, which are the protocol thread's.
class Doorbells {
 public:
  // Runs Device::RingDoorbell on the thread of `work`. All are borrowed.
  Doorbells(Device& device, WorkQueue& work, EventPoller& poller);
  Doorbells(const Doorbells&) = delete;
  Doorbells& operator=(const Doorbells&) = delete;

  struct Offer {
    std::vector<IoFdEntry> entries;
    std::vector<FdView> fds;  // Of the entries, each once. Until ClientGone.
  };
  // The doorbells of a region: as many as `most_fds` descriptors allow, from the first. The same
  // ones each time that a client asks. ResourceExhausted where no descriptor is to be had, or the
  // kernel watches no more.
  absl::StatusOr<Offer> OfferOf(RegionIndex region, uint64_t most_fds) ABSL_LOCKS_EXCLUDED(mu_);

  // Tells the device all that was rung by now, whether the poller has come to it or not. The
  // worker's.
  void HandOn() ABSL_LOCKS_EXCLUDED(mu_);

  // Forgets what was rung by now and did not reach the device.
  void Forget() ABSL_LOCKS_EXCLUDED(mu_);

  // Gives up the eventfds. No ring posts work any more when this returns.
  void ClientGone() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Bell {
    RegionIndex region{};
    DoorbellDescription place;
    std::shared_ptr<const EventFd> event;  // nullptr until a client asks for it.
    uint64_t rung = 0;                     // And taken from the event, but not told to the device.
    bool posted = false;                   // The work that tells it has not begun.
  };

  absl::Status Make(size_t bell) ABSL_LOCKS_EXCLUDED(mu_);
  static void Gather(Bell& bell);
  // The poller's.
  void Count(size_t bell) ABSL_LOCKS_EXCLUDED(mu_);
  // The worker's.
  void RunPosted(size_t bell) ABSL_LOCKS_EXCLUDED(mu_);
  void Tell(size_t bell) ABSL_LOCKS_EXCLUDED(mu_);

  Device& device_;
  WorkQueue& work_;
  EventPoller& poller_;
  size_t count_ = 0;
  Mutex mu_;  // Before that of work_.
  std::vector<Bell> bells_ ABSL_GUARDED_BY(mu_);
  // Destroyed first, so that no handler runs when the rest goes. Never with mu_ held, for which a
  // handler may be waiting.
  std::vector<EventPoller::Watch> watches_;
};

}  // namespace vfio_user

#endif  // SERVER_EVENTS_DOORBELLS_H_
