#include "tests/testing/thread_state.h"

#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(AwaitAsleepTest, ReturnsWhenTheThreadWaits) {
  std::promise<pid_t> started;
  std::promise<void> go_on;
  std::atomic<bool> gone_on = false;
  std::thread thread([&] {
    started.set_value(::gettid());
    go_on.get_future().wait();
    gone_on = true;
  });

  EXPECT_TRUE(AwaitAsleep(started.get_future().get()));

  EXPECT_FALSE(gone_on);
  go_on.set_value();
  thread.join();
}

TEST(AwaitAsleepTest, WaitsWhileTheThreadRuns) {
  std::promise<pid_t> started;
  std::promise<void> go_on;
  std::atomic<int> rounds = 0;
  std::thread thread([&] {
    started.set_value(::gettid());
    while (rounds < 100'000) ++rounds;
    go_on.get_future().wait();
  });

  EXPECT_TRUE(AwaitAsleep(started.get_future().get()));

  EXPECT_EQ(rounds, 100'000);
  go_on.set_value();
  thread.join();
}

TEST(AwaitAsleepTest, SaysThatAThreadIsGone) {
  std::promise<pid_t> started;
  std::thread thread([&] { started.set_value(::gettid()); });
  thread.join();

  EXPECT_FALSE(AwaitAsleep(started.get_future().get()));
}

}  // namespace
}  // namespace vfio_user
