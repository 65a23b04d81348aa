#include "tools/vfio_user/latency_summary.h"

#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(LatencySummaryTest, TakesPercentilesByRank) {
  std::vector<int64_t> samples(1000);
  std::iota(samples.rbegin(), samples.rend(), 1);

  const LatencySummary summary = SummarizeLatency(samples);

  EXPECT_EQ(summary.samples, 1000u);
  EXPECT_EQ(summary.p50, absl::Nanoseconds(500));
  EXPECT_EQ(summary.p90, absl::Nanoseconds(900));
  EXPECT_EQ(summary.p99, absl::Nanoseconds(990));
  EXPECT_EQ(summary.p999, absl::Nanoseconds(999));
  EXPECT_EQ(summary.max, absl::Nanoseconds(1000));
}

TEST(LatencySummaryTest, GivesTimesThatWereSeenWhenThereAreFew) {
  std::vector<int64_t> samples = {30, 10};

  const LatencySummary summary = SummarizeLatency(samples);

  EXPECT_EQ(summary.p50, absl::Nanoseconds(10));
  EXPECT_EQ(summary.p90, absl::Nanoseconds(30));
  EXPECT_EQ(summary.max, absl::Nanoseconds(30));
}

TEST(LatencySummaryTest, IsZeroWithoutSamples) {
  EXPECT_EQ(SummarizeLatency({}).samples, 0u);
  EXPECT_EQ(SummarizeLatency({}).max, absl::ZeroDuration());
}

}  // namespace
}  // namespace vfio_user
