#include "server/events/doorbells.h"

#include <utility>

#include "proto_defs/base/status_macros.h"

namespace vfio_user {

Doorbells::Doorbells(Device& device, WorkQueue& work, EventPoller& poller)
    : device_(device), work_(work), poller_(poller) {
  MutexLock lock(mu_);
  for (const BarDescription& bar : device.description().bars) {
    for (const DoorbellDescription& place : bar.doorbells) {
      bells_.push_back({.region = bar.index, .place = place, .event = nullptr});
    }
  }
  count_ = bells_.size();
}

absl::Status Doorbells::Make(size_t bell) {
  {
    MutexLock lock(mu_);
    if (bells_[bell].event != nullptr) return absl::OkStatus();
  }
  VFIO_USER_ASSIGN_OR_RETURN(EventFd made, EventFd::Create());
  auto event = std::make_shared<const EventFd>(std::move(made));
  VFIO_USER_ASSIGN_OR_RETURN(EventPoller::Watch watch,
                             poller_.Add(event, [this, bell](const EventFd&) { Count(bell); }));
  watches_.push_back(std::move(watch));
  MutexLock lock(mu_);
  bells_[bell].event = std::move(event);
  return absl::OkStatus();
}

absl::StatusOr<Doorbells::Offer> Doorbells::OfferOf(RegionIndex region, uint64_t most_fds) {
  Offer offer;
  for (size_t i = 0; i < count_ && offer.fds.size() < most_fds; ++i) {
    {
      MutexLock lock(mu_);
      if (bells_[i].region != region) continue;
    }
    VFIO_USER_RETURN_IF_ERROR(Make(i));
    MutexLock lock(mu_);
    IoFdEntry& entry = offer.entries.emplace_back();
    entry.offset = bells_[i].place.offset;
    entry.size = bells_[i].place.size;
    entry.fd_index = static_cast<uint32_t>(offer.fds.size());
    entry.type = IoFdType::kIoEventFd;
    offer.fds.emplace_back(bells_[i].event->fd());
  }
  return offer;
}

void Doorbells::HandOn() {
  for (size_t i = 0; i < count_; ++i) Tell(i);
}

void Doorbells::Forget() {
  MutexLock lock(mu_);
  for (Bell& bell : bells_) {
    Gather(bell);
    bell.rung = 0;
  }
}

void Doorbells::ClientGone() {
  watches_.clear();
  MutexLock lock(mu_);
  for (Bell& bell : bells_) {
    bell.event.reset();
    bell.rung = 0;
  }
}

void Doorbells::Gather(Bell& bell) {
  if (bell.event == nullptr) return;
  const uint64_t count = bell.event->Take();
  // Does not wrap: an eventfd's counter is 64 bits too, and clients choose what they add.
  bell.rung = count > UINT64_MAX - bell.rung ? UINT64_MAX : bell.rung + count;
}

void Doorbells::Count(size_t bell) {
  MutexLock lock(mu_);
  Bell& state = bells_[bell];
  // With the lock: a ring is in the eventfd or in `rung`, and never between the two, where those
  // who hand on or forget would miss it.
  Gather(state);
  if (state.rung == 0 || std::exchange(state.posted, true)) return;
  work_.Post([this, bell] { RunPosted(bell); });
}

void Doorbells::RunPosted(size_t bell) {
  {
    MutexLock lock(mu_);
    bells_[bell].posted = false;
  }
  Tell(bell);
}

void Doorbells::Tell(size_t bell) {
  RegionIndex region{};
  uint64_t offset = 0;
  uint64_t count = 0;
  {
    MutexLock lock(mu_);
    Bell& state = bells_[bell];
    Gather(state);
    region = state.region;
    offset = state.place.offset;
    count = std::exchange(state.rung, 0);
  }
  if (count > 0) device_.RingDoorbell(region, offset, count);
}

}  // namespace vfio_user
