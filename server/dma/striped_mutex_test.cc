#include "server/dma/striped_mutex.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(StripedMutexTest, LetsReadersInTogether) {
  StripedMutex mu;
  const ReaderLock mine(mu);
  size_t theirs = mine.stripe();

  std::thread([&] { theirs = ReaderLock(mu).stripe(); }).join();

  EXPECT_NE(theirs, mine.stripe());
}

TEST(StripedMutexTest, TakesAThreadToWhereItWasAlone) {
  StripedMutex mu;
  size_t first = 0;
  {
    const ReaderLock lock(mu);
    first = lock.stripe();
  }

  EXPECT_EQ(ReaderLock(mu).stripe(), first);
  EXPECT_EQ(ReaderLock(mu, 3).stripe(), 3u);
}

struct Shared {
  StripedMutex mu;
  int value ABSL_GUARDED_BY(mu) = 0;
  std::array<int, StripedMutex::kStripes> of_stripe = {};
};

TEST(StripedMutexTest, KeepsWritersAloneAndEachStripeToOneReader) {
  constexpr int kTurns = 2000;
  Shared shared;
  std::atomic<int> seen_half_done = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&shared] {
      for (int turn = 0; turn < kTurns; ++turn) {
        const WriterLock lock(shared.mu);
        ++shared.value;
        ++shared.value;
      }
    });
  }
  // More than there are stripes.
  for (size_t i = 0; i < StripedMutex::kStripes + 2; ++i) {
    threads.emplace_back([&shared, &seen_half_done] {
      for (int turn = 0; turn < kTurns; ++turn) {
        const ReaderLock lock(shared.mu);
        ++shared.of_stripe[lock.stripe()];
        if (shared.value % 2 != 0) ++seen_half_done;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(seen_half_done, 0);
  const ReaderLock lock(shared.mu);
  EXPECT_EQ(shared.value, 4 * kTurns);
  int reads = 0;
  for (const int count : shared.of_stripe) reads += count;
  EXPECT_EQ(reads, kTurns * static_cast<int>(StripedMutex::kStripes + 2));
}

}  // namespace
}  // namespace vfio_user
