#include "server/dma/mapping_budget.h"

#include <cerrno>
#include <fstream>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {
namespace {

size_t KernelMappingLimit() {
  constexpr size_t kUsual = 65'530;
  size_t limit = 0;
  return (std::ifstream("/proc/sys/vm/max_map_count") >> limit) ? limit : kUsual;
}

}  // namespace

MappingBudget& MappingBudget::OfThisProcess() {
  static MappingBudget budget(KernelMappingLimit() / 2);
  return budget;
}

absl::StatusOr<MappingBudget::Share> MappingBudget::Take() {
  if (taken_++ < most_) return Share(this);
  --taken_;
  return ErrnoStatus(ENOSPC, fmt::format("DMA_MAP: {} files are mapped, the most that this process "
                                         "maps (half of vm.max_map_count)",
                                         most_));
}

}  // namespace vfio_user
