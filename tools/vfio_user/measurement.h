// Measurements that take as long as they may.
#ifndef TOOLS_VFIO_USER_MEASUREMENT_H_
#define TOOLS_VFIO_USER_MEASUREMENT_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tools/vfio_user/latency_summary.h"

namespace vfio_user {

struct MeasurementOptions {
  absl::Duration duration = absl::Seconds(1);
  // Told now and then which share of the time is over, 0 to 1. Its error ends the measurement and
  // is returned.
  std::function<absl::Status(double share)> check = [](double) { return absl::OkStatus(); };
};

// Does `operation` over and over, one after the other, for that long, but at least once and at most
// some millions of times. The first few are not counted. What `check` takes is not in the times.
absl::StatusOr<LatencySummary> MeasureLatency(const std::function<absl::Status()>& operation,
                                              const MeasurementOptions& options);

// Says when the time is over. Thread-compatible.
class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;

  // Borrows the options.
  explicit Stopwatch(const MeasurementOptions& options)
      : options_(options), start_(Clock::now()), checked_(start_) {}

  // Whether there is time left at `now`. Calls the options' check, not more often than is needed.
  absl::StatusOr<bool> GoesOn(Clock::time_point now);

  absl::Duration elapsed() const { return absl::FromChrono(Clock::now() - start_); }

 private:
  const MeasurementOptions& options_;
  const Clock::time_point start_;
  Clock::time_point checked_;
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_MEASUREMENT_H_
