// Which of the client's memory transfers are using, for who unmaps it meanwhile.
#ifndef SERVER_DMA_MEMORY_USE_H_
#define SERVER_DMA_MEMORY_USE_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "server/dma/client_memory.h"

namespace vfio_user {

// What one transfer uses. A transfer counts nothing in on the memory itself: threads on several
// processors that use the same would hand the count to and fro. It writes down what it uses where
// only it and who unmaps look. Nothing is allocated for up to kInline memories. Thread-compatible,
// and guarded like the MemoryUses that it is in.
class MemoryUse {
 public:
  static constexpr size_t kInline = 64;

  MemoryUse() = default;
  MemoryUse(const MemoryUse&) = delete;
  MemoryUse& operator=(const MemoryUse&) = delete;

  // Before it begins.
  void Add(const ClientMemory& memory) {
    // Most pieces of a list are in the mapping of the one before.
    if (memories_.empty() || memories_.back() != &memory) memories_.push_back(&memory);
  }

 private:
  friend class MemoryUses;

  void KeepIfUsed(const std::shared_ptr<ClientMemory>& memory);

  absl::InlinedVector<const ClientMemory*, kInline> memories_;
  std::vector<std::shared_ptr<ClientMemory>> kept_;
  MemoryUse* previous_ = nullptr;
  MemoryUse* next_ = nullptr;
};

// Those that are under way. Thread-compatible, but for EndAlone.
class MemoryUses {
 public:
  MemoryUses() = default;
  MemoryUses(const MemoryUses&) = delete;
  MemoryUses& operator=(const MemoryUses&) = delete;

  // `use` stays where it is until it has ended. The memory can still be found.
  void Begin(MemoryUse& use);

  // Ends `use`, if it was the only one when it began and nothing has been kept since; else nothing
  // has happened, and End is to be called. Needs no lock: it is one exchange.
  bool EndAlone(MemoryUse& use) {
    MemoryUse* expected = &use;
    return alone_.compare_exchange_strong(expected, nullptr, std::memory_order_release,
                                          std::memory_order_relaxed);
  }

  // Returns shares of what cannot be found any more: the last to be dropped releases it.
  std::vector<std::shared_ptr<ClientMemory>> End(MemoryUse& use);

  // `memory` is not to be found from now on. Whoever uses it gets a share.
  void Keep(const std::shared_ptr<ClientMemory>& memory);

 private:
  void Enlist(MemoryUse& use);

  // One that began when there was no other, or nullptr. It may end at any time, unless it is moved
  // to the list first, where it ends as the others do.
  std::atomic<MemoryUse*> alone_ = nullptr;
  MemoryUse* first_ = nullptr;
};

}  // namespace vfio_user

#endif  // SERVER_DMA_MEMORY_USE_H_
