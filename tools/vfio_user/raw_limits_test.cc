#include "tools/vfio_user/raw_limits.h"

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tools/vfio_user/latency_summary.h"
#include "tools/vfio_user/measurement.h"
#include "tools/vfio_user/transfer_sweep.h"

namespace vfio_user {
namespace {

TEST(RawLimitsTest, MeasuresEverySizeByEachCall) {
  const auto figures = MeasureRawCopies({.sizes = {64, 4096}, .duration = absl::Milliseconds(4)});

  ASSERT_THAT(figures, IsOk());
  ASSERT_EQ(figures->size(), 4u);
  EXPECT_EQ((*figures)[0].name, "memcpy");
  EXPECT_EQ((*figures)[1].bytes, 4096u);
  EXPECT_EQ((*figures)[2].name, "pread");
  for (const RawCopyFigures& one : *figures) EXPECT_GT(one.bytes_per_second, 0) << one.name;
}

TEST(RawLimitsTest, SendsBytesToAndFro) {
  const absl::StatusOr<LatencySummary> latency =
      MeasurePingPong({.duration = absl::Milliseconds(4)});

  ASSERT_THAT(latency, IsOk());
  EXPECT_GT(latency->samples, 0u);
  EXPECT_GT(latency->p50, absl::ZeroDuration());
}

TEST(RawLimitsTest, EndsWhenItsCheckSaysSo) {
  const auto stop = [](double, std::string_view) { return absl::CancelledError("enough"); };

  EXPECT_THAT(MeasureRawCopies({.sizes = {64}, .duration = absl::Hours(1), .check = stop}),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(MeasurePingPong({absl::Hours(1), [&](double) { return stop(0, ""); }}),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace vfio_user
