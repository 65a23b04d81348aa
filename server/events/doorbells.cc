#include "server/events/doorbells.h"

#include <utility>

#include "proto_defs/base/status_macros.h"

namespace vfio_user {

absl::StatusOr<std::unique_ptr<Doorbells>> Doorbells::Create(Device& device, WorkQueue& work,
                                                             EventPoller& poller) {
  std::unique_ptr<Doorbells> doorbells(new Doorbells(device, work));
  for (const BarDescription& bar : device.description().bars) {
    for (const DoorbellDescription& place : bar.doorbells) {
      VFIO_USER_RETURN_IF_ERROR(doorbells->Add(bar.index, place, poller));
    }
  }
  return doorbells;
}

absl::Status Doorbells::Add(RegionIndex region, const DoorbellDescription& place,
                            EventPoller& poller) {
  VFIO_USER_ASSIGN_OR_RETURN(EventFd event, EventFd::Create());
  Bell& bell =
      bells_.emplace_back(Bell{.region = region,
                               .place = place,
                               .event = std::make_shared<const EventFd>(std::move(event))});
  VFIO_USER_ASSIGN_OR_RETURN(
      EventPoller::Watch watch,
      poller.Add(bell.event, [this, &bell](uint64_t count) { Count(bell, count); }));
  watches_.push_back(std::move(watch));
  return absl::OkStatus();
}

Doorbells::Offer Doorbells::Of(RegionIndex region, uint64_t most_fds) const {
  Offer offer;
  for (const Bell& bell : bells_) {
    if (bell.region != region || offer.fds.size() >= most_fds) continue;
    IoFdEntry& entry = offer.entries.emplace_back();
    entry.offset = bell.place.offset;
    entry.size = bell.place.size;
    entry.fd_index = static_cast<uint32_t>(offer.fds.size());
    entry.type = IoFdType::kIoEventFd;
    offer.fds.emplace_back(bell.event->fd());
  }
  return offer;
}

void Doorbells::Drain() {
  for (Bell& bell : bells_) {
    (void)bell.event->Take();
    MutexLock lock(mu_);
    bell.rung = 0;
  }
}

void Doorbells::Count(Bell& bell, uint64_t count) {
  MutexLock lock(mu_);
  // Does not wrap: an eventfd's counter is 64 bits too, and clients choose what they add.
  bell.rung = count > UINT64_MAX - bell.rung ? UINT64_MAX : bell.rung + count;
  if (std::exchange(bell.posted, true)) return;
  work_.Post([this, &bell] { Ring(bell); });
}

void Doorbells::Ring(Bell& bell) {
  uint64_t count = 0;
  {
    MutexLock lock(mu_);
    count = std::exchange(bell.rung, 0);
    bell.posted = false;
  }
  if (count > 0) device_.RingDoorbell(bell.region, bell.place.offset, count);
}

}  // namespace vfio_user
