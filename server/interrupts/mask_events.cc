#include "server/interrupts/mask_events.h"

#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

absl::StatusOr<std::vector<EventFd>> AdoptAll(std::vector<UniqueFd> fds) {
  std::vector<EventFd> events;
  for (UniqueFd& fd : fds) {
    VFIO_USER_ASSIGN_OR_RETURN(EventFd event, EventFd::Adopt(std::move(fd)));
    events.push_back(std::move(event));
  }
  return events;
}

}  // namespace

absl::Status MaskEvents::Apply(const SetIrqsRequest& request, std::vector<UniqueFd> fds) {
  VFIO_USER_RETURN_IF_ERROR(interrupts_.Check(request, fds.size()));
  VFIO_USER_ASSIGN_OR_RETURN(std::vector<EventFd> events, AdoptAll(std::move(fds)));
  std::vector<Id> ids;
  // They mask nothing before they have vectors, and nothing can fail from then on.
  VFIO_USER_ASSIGN_OR_RETURN(Listeners listeners, Listen(std::move(events), ids));
  listeners_.merge(listeners);
  const auto key_of = [&request](uint32_t i) {
    return Key{request.index, request.action, request.start + i};
  };
  // All before the first is removed, because a listener goes with the last of its vectors.
  for (uint32_t i = 0; i < ids.size(); ++i) listeners_.at(ids[i])->Add(key_of(i));
  for (uint32_t i = 0; i < request.count; ++i) {
    const auto before = events_.find(key_of(i));
    const bool stays = !ids.empty() && before != events_.end() && before->second == ids[i];
    if (!stays) Remove(key_of(i));
    if (!ids.empty()) events_.insert_or_assign(key_of(i), ids[i]);
  }
  // One may have been signalled before it had all of its vectors.
  for (const Id& id : ids) listeners_.at(id)->Handle();
  return absl::OkStatus();
}

absl::StatusOr<MaskEvents::Listeners> MaskEvents::Listen(std::vector<EventFd> events,
                                                         std::vector<Id>& ids) {
  Listeners listeners;
  for (EventFd& event : events) {
    const std::optional<uint64_t> kernel_id = event.id();
    const Id id = {kernel_id.has_value(), kernel_id.has_value() ? *kernel_id : ++last_id_};
    ids.push_back(id);
    if (listeners_.contains(id) || listeners.contains(id)) continue;
    auto listener = std::make_unique<Listener>(interrupts_, std::move(event));
    VFIO_USER_RETURN_IF_ERROR(listener->Watch(poller_));
    listeners.emplace(id, std::move(listener));
  }
  return listeners;
}

void MaskEvents::Remove(const Key& key) {
  const auto event = events_.find(key);
  if (event == events_.end()) return;
  const auto listener = listeners_.find(event->second);
  listener->second->Remove(key);
  if (listener->second->idle()) listeners_.erase(listener);
  events_.erase(event);
}

void MaskEvents::Drop(IrqIndex index) {
  std::vector<Key> dropped;
  for (const auto& [key, id] : events_) {
    if (key.index == index) dropped.push_back(key);
  }
  for (const Key& key : dropped) Remove(key);
}

void MaskEvents::DropAll() {
  listeners_.clear();
  events_.clear();
}

absl::Status MaskEvents::Listener::Watch(EventPoller& poller) {
  VFIO_USER_ASSIGN_OR_RETURN(watch_, poller.Add(event_, [this](const EventFd&) { Handle(); }));
  return absl::OkStatus();
}

void MaskEvents::Listener::Add(const Key& key) {
  MutexLock lock(mu_);
  keys_.insert(key);
}

void MaskEvents::Listener::Remove(const Key& key) {
  MutexLock lock(mu_);
  keys_.erase(key);
}

bool MaskEvents::Listener::idle() const {
  MutexLock lock(mu_);
  return keys_.empty();
}

void MaskEvents::Listener::Handle() {
  // Held until all is done, so that a vector that is removed is left alone from then on.
  MutexLock lock(mu_);
  if (keys_.empty() || event_->Take() == 0) return;
  for (const Key& key : keys_) {
    SetIrqsRequest change;
    change.action = key.action;
    change.index = key.index;
    change.start = key.vector;
    change.count = 1;
    (void)interrupts_.Apply(change, {});
  }
}

}  // namespace vfio_user
