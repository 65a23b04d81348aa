#include "server/dma/memory_use.h"

#include <algorithm>
#include <utility>

namespace vfio_user {

void MemoryUse::KeepIfUsed(const std::shared_ptr<ClientMemory>& memory) {
  if (std::find(memories_.begin(), memories_.end(), memory.get()) != memories_.end()) {
    kept_.push_back(memory);
  }
}

void MemoryUses::Begin(MemoryUse& use) {
  // Others only take it away, so that what is seen to be free stays free.
  if (first_ == nullptr && alone_.load(std::memory_order_acquire) == nullptr) {
    alone_.store(&use, std::memory_order_release);
  } else {
    Enlist(use);
  }
}

std::vector<std::shared_ptr<ClientMemory>> MemoryUses::End(MemoryUse& use) {
  if (EndAlone(use)) return {};
  (use.previous_ != nullptr ? use.previous_->next_ : first_) = use.next_;
  if (use.next_ != nullptr) use.next_->previous_ = use.previous_;
  return std::move(use.kept_);
}

void MemoryUses::Keep(const std::shared_ptr<ClientMemory>& memory) {
  // From here on it cannot end without the lock.
  MemoryUse* const alone = alone_.exchange(nullptr, std::memory_order_acq_rel);
  if (alone != nullptr) Enlist(*alone);
  for (MemoryUse* use = first_; use != nullptr; use = use->next_) use->KeepIfUsed(memory);
}

void MemoryUses::Enlist(MemoryUse& use) {
  use.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &use;
  first_ = &use;
}

}  // namespace vfio_user
