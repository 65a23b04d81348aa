// How long things took, in a few figures.
#ifndef TOOLS_VFIO_USER_LATENCY_SUMMARY_H_
#define TOOLS_VFIO_USER_LATENCY_SUMMARY_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/time/time.h"

namespace vfio_user {

// A percentile is the least of the samples that so many percent of them do not exceed: one of the
// times that were seen, never one between two of them.
struct LatencySummary {
  size_t samples = 0;
  absl::Duration p50 = absl::ZeroDuration();
  absl::Duration p90 = absl::ZeroDuration();
  absl::Duration p99 = absl::ZeroDuration();
  absl::Duration p999 = absl::ZeroDuration();
  absl::Duration max = absl::ZeroDuration();
};

// Puts the samples, in nanoseconds, into another order. All zero without any.
LatencySummary SummarizeLatency(std::span<int64_t> nanoseconds);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_LATENCY_SUMMARY_H_
