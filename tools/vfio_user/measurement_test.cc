#include "tools/vfio_user/measurement.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tools/vfio_user/latency_summary.h"

namespace vfio_user {
namespace {

TEST(MeasureLatencyTest, MeasuresOnceWithoutAnyTime) {
  int done = 0;

  const absl::StatusOr<LatencySummary> summary = MeasureLatency(
      [&] {
        ++done;
        return absl::OkStatus();
      },
      {.duration = absl::ZeroDuration()});

  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(summary->samples, 1u);
  EXPECT_EQ(done, 2);
}

TEST(MeasureLatencyTest, EndsWithTheErrorOfTheOperation) {
  EXPECT_THAT(MeasureLatency([] { return absl::UnavailableError("gone"); }, {}),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST(MeasureLatencyTest, EndsWithTheErrorOfTheCheckLongBeforeItsTime) {
  const MeasurementOptions options = {.duration = absl::Seconds(600), .check = [](double) {
                                        return absl::CancelledError("stopped");
                                      }};

  EXPECT_THAT(MeasureLatency([] { return absl::OkStatus(); }, options),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace vfio_user
