#include "tools/vfio_user/measurement.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/latency_summary.h"

namespace vfio_user {
namespace {

constexpr int kUncounted = 8;
// Of 8 bytes each.
constexpr size_t kMaxSamples = 4 << 20;
constexpr std::chrono::milliseconds kCheckInterval(20);

}  // namespace

absl::StatusOr<bool> Stopwatch::GoesOn(Clock::time_point now) {
  const absl::Duration elapsed = absl::FromChrono(now - start_);
  if (now - checked_ >= kCheckInterval) {
    checked_ = now;
    const double share = absl::FDivDuration(elapsed, options_.duration);
    VFIO_USER_RETURN_IF_ERROR(options_.check(std::min(share, 1.0)));
  }
  return elapsed < options_.duration;
}

absl::StatusOr<LatencySummary> MeasureLatency(const std::function<absl::Status()>& operation,
                                              const MeasurementOptions& options) {
  Stopwatch stopwatch(options);
  bool goes_on = true;
  for (int i = 0; goes_on && i < kUncounted; ++i) {
    VFIO_USER_RETURN_IF_ERROR(operation());
    VFIO_USER_ASSIGN_OR_RETURN(goes_on, stopwatch.GoesOn(Stopwatch::Clock::now()));
  }
  std::vector<int64_t> samples;
  do {
    const auto begin = Stopwatch::Clock::now();
    VFIO_USER_RETURN_IF_ERROR(operation());
    const auto end = Stopwatch::Clock::now();
    samples.push_back(std::chrono::nanoseconds(end - begin).count());
    VFIO_USER_ASSIGN_OR_RETURN(goes_on, stopwatch.GoesOn(end));
  } while (goes_on && samples.size() < kMaxSamples);
  return SummarizeLatency(samples);
}

}  // namespace vfio_user
