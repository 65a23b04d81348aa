#include "client/dma/live_mappings.h"

namespace vfio_user {

void LiveMappings::BeginMap() {
  MutexLock lock(mu_);
  while (claiming_all_) changed_.Wait(mu_);
  ++being_made_;
}

void LiveMappings::EndMap() {
  MutexLock lock(mu_);
  if (--being_made_ == 0) changed_.NotifyAll();
}

LiveMappings::Id LiveMappings::Add(const LiveMapping& mapping) {
  MutexLock lock(mu_);
  slots_.emplace(next_id_, Slot{.mapping = mapping});
  return next_id_++;
}

std::optional<LiveMapping> LiveMappings::Claim(Id id) {
  MutexLock lock(mu_);
  while (true) {
    const auto found = slots_.find(id);
    if (found == slots_.end()) return std::nullopt;
    if (!found->second.claimed && !claiming_all_) {
      found->second.claimed = true;
      ++claimed_;
      return found->second.mapping;
    }
    changed_.Wait(mu_);
  }
}

std::vector<LiveMappings::Entry> LiveMappings::BeginClaimAll() {
  MutexLock lock(mu_);
  while (claiming_all_) changed_.Wait(mu_);
  claiming_all_ = true;
  while (being_made_ > 0 || claimed_ > 0) changed_.Wait(mu_);
  std::vector<Entry> all;
  for (auto& [id, slot] : slots_) {
    slot.claimed = true;
    ++claimed_;
    all.emplace_back(id, slot.mapping);
  }
  return all;
}

void LiveMappings::EndClaimAll() {
  MutexLock lock(mu_);
  claiming_all_ = false;
  changed_.NotifyAll();
}

void LiveMappings::Remove(Id id) {
  MutexLock lock(mu_);
  const auto found = slots_.find(id);
  if (found == slots_.end()) return;
  if (found->second.claimed) --claimed_;
  slots_.erase(found);
  changed_.NotifyAll();
}

std::vector<LiveMapping> LiveMappings::Overlapping(const IovaRange& range) const {
  std::vector<LiveMapping> found;
  const auto last = LastByte(range);
  if (!last) return found;
  MutexLock lock(mu_);
  for (const auto& [id, slot] : slots_) {
    const IovaRange& mapping = slot.mapping.range;
    if (mapping.first <= *last && *LastByte(mapping) >= range.first) found.push_back(slot.mapping);
  }
  return found;
}

}  // namespace vfio_user
