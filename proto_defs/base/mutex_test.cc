#include "proto_defs/base/mutex.h"

#include <chrono>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

struct Counter {
  Mutex mu;
  CondVar changed;
  int value ABSL_GUARDED_BY(mu) = 0;
};

TEST(MutexTest, KeepsIncrementsOfManyThreads) {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&counter] {
      for (int n = 0; n < 1000; ++n) {
        MutexLock lock(counter.mu);
        ++counter.value;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  MutexLock lock(counter.mu);
  EXPECT_EQ(counter.value, 4000);
}

TEST(CondVarTest, WakesTheWaiter) {
  Counter counter;
  std::thread notifier([&counter] {
    MutexLock lock(counter.mu);
    counter.value = 1;
    counter.changed.NotifyOne();
  });

  {
    MutexLock lock(counter.mu);
    while (counter.value == 0) counter.changed.Wait(counter.mu);
    EXPECT_EQ(counter.value, 1);
  }
  notifier.join();
}

TEST(CondVarTest, WaitUntilReportsAPassedDeadline) {
  Counter counter;

  MutexLock lock(counter.mu);
  EXPECT_FALSE(counter.changed.WaitUntil(counter.mu, std::chrono::steady_clock::now()));
}

}  // namespace
}  // namespace vfio_user
