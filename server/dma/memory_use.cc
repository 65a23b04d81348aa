#include "server/dma/memory_use.h"

#include <algorithm>
#include <utility>

namespace vfio_user {

void MemoryUses::Begin(MemoryUse& use) {
  use.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &use;
  first_ = &use;
}

std::vector<std::shared_ptr<ClientMemory>> MemoryUses::End(MemoryUse& use) {
  (use.previous_ != nullptr ? use.previous_->next_ : first_) = use.next_;
  if (use.next_ != nullptr) use.next_->previous_ = use.previous_;
  return std::move(use.kept_);
}

void MemoryUses::Keep(const std::shared_ptr<ClientMemory>& memory) {
  for (MemoryUse* use = first_; use != nullptr; use = use->next_) {
    const bool used = std::find(use->memories_.begin(), use->memories_.end(), memory.get()) !=
                      use->memories_.end();
    if (used) use->kept_.push_back(memory);
  }
}

}  // namespace vfio_user
