#include "proto_defs/transport/deadline.h"

#include <chrono>
#include <limits>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

using testing::AllOf;
using testing::Ge;
using testing::Le;

TEST(DeadlineTest, NeverDoesNotPass) {
  const Deadline never = Deadline::Never();

  EXPECT_TRUE(never.never());
  EXPECT_FALSE(never.passed());
  EXPECT_EQ(never.PollMilliseconds(), -1);
  EXPECT_EQ(never.TimeLeft(), absl::InfiniteDuration());
  EXPECT_EQ(never.SocketTimeout().tv_sec, 0);
  EXPECT_EQ(never.SocketTimeout().tv_usec, 0);
}

TEST(DeadlineTest, TakesWhatIsBeyondACenturyForNever) {
  EXPECT_TRUE(Deadline::In(absl::InfiniteDuration()).never());
  EXPECT_TRUE(Deadline::In(absl::Hours(24 * 366 * 100)).never());
  EXPECT_FALSE(Deadline::In(absl::Hours(24 * 365 * 100)).never());
}

TEST(DeadlineTest, HasPassedAtOnceWithoutTime) {
  for (const absl::Duration none :
       {absl::ZeroDuration(), absl::Seconds(-1), -absl::InfiniteDuration()}) {
    const Deadline deadline = Deadline::In(none);
    EXPECT_FALSE(deadline.never()) << none;
    EXPECT_TRUE(deadline.passed()) << none;
    EXPECT_EQ(deadline.TimeLeft(), absl::ZeroDuration()) << none;
    EXPECT_EQ(deadline.PollMilliseconds(), 0) << none;
  }
}

TEST(DeadlineTest, IsThatFarFromNow) {
  const auto before = std::chrono::steady_clock::now();
  const Deadline deadline = Deadline::In(absl::Seconds(100));
  const auto after = std::chrono::steady_clock::now();

  EXPECT_FALSE(deadline.passed());
  EXPECT_THAT(deadline.time_point(),
              AllOf(Ge(before + std::chrono::seconds(100)), Le(after + std::chrono::seconds(100))));
}

TEST(DeadlineTest, PollMillisecondsCountsDown) {
  const int left = Deadline::In(absl::Seconds(100)).PollMilliseconds();

  EXPECT_THAT(left, AllOf(Ge(90'000), Le(100'000)));
}

TEST(DeadlineTest, PollMillisecondsRoundsUp) {
  // Rounded down, the last part of a millisecond would be a busy loop.
  for (int i = 0; i < 100; ++i) {
    const Deadline deadline = Deadline::In(absl::Microseconds(900));
    const int milliseconds = deadline.PollMilliseconds();
    if (!deadline.passed()) {
      EXPECT_EQ(milliseconds, 1);
    }
  }
}

TEST(DeadlineTest, PollMillisecondsIsBounded) {
  EXPECT_EQ(Deadline::In(absl::Hours(24 * 365 * 99)).PollMilliseconds(),
            std::numeric_limits<int>::max());
}

TEST(DeadlineTest, SocketTimeoutIsNeverTheKernelsNever) {
  const timeval passed = Deadline::In(absl::ZeroDuration()).SocketTimeout();
  EXPECT_EQ(passed.tv_sec, 0);
  EXPECT_EQ(passed.tv_usec, 1);

  const timeval left = Deadline::In(absl::Seconds(100)).SocketTimeout();
  EXPECT_THAT(left.tv_sec, AllOf(Ge(90), Le(100)));
}

}  // namespace
}  // namespace vfio_user
