// How many files of clients this process maps at once.
#ifndef SERVER_DMA_MAPPING_BUDGET_H_
#define SERVER_DMA_MAPPING_BUDGET_H_

#include <atomic>
#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"

namespace vfio_user {

// Thread-safe.
class MappingBudget {
 private:
  struct GiveBack {
    void operator()(MappingBudget* budget) const { --budget->taken_; }
  };

 public:
  // One mapping's share, given back with it. The budget must outlive it.
  using Share = std::unique_ptr<MappingBudget, GiveBack>;

  explicit MappingBudget(size_t most) : most_(most) {}

  // Half of what the kernel allows a process (vm.max_map_count): the rest is for threads and
  // allocations, which would otherwise fail for every client.
  static MappingBudget& OfThisProcess();

  // ResourceExhausted (ENOSPC) when all of it is taken.
  absl::StatusOr<Share> Take();

 private:
  const size_t most_;
  std::atomic<size_t> taken_ = 0;
};

}  // namespace vfio_user

#endif  // SERVER_DMA_MAPPING_BUDGET_H_
