#include "tools/vfio_user/latency_summary.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/time/time.h"

namespace vfio_user {

LatencySummary SummarizeLatency(std::span<int64_t> nanoseconds) {
  if (nanoseconds.empty()) return {};
  std::ranges::sort(nanoseconds);
  const size_t count = nanoseconds.size();
  const auto at = [&](size_t per_mille) {
    const size_t rank = (count * per_mille + 999) / 1000;
    return absl::Nanoseconds(nanoseconds[rank - 1]);
  };
  return {.samples = count,
          .p50 = at(500),
          .p90 = at(900),
          .p99 = at(990),
          .p999 = at(999),
          .max = at(1000)};
}

}  // namespace vfio_user
