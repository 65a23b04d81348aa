#include "server/events/thread.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(ThreadTest, RunsItsBodyAndJoinsWhenDestroyed) {
  std::atomic<bool> ran = false;
  {
    const absl::StatusOr<Thread> thread = Thread::Start("test", [&ran] { ran = true; });
    ASSERT_TRUE(thread.ok());
  }

  EXPECT_TRUE(ran);
}

TEST(ThreadTest, JoinsTheOldThreadWhenAnotherIsAssigned) {
  std::atomic<int> ran = 0;
  absl::StatusOr<Thread> first = Thread::Start("test", [&ran] { ++ran; });
  ASSERT_TRUE(first.ok());
  Thread thread = *std::move(first);

  thread = Thread();

  EXPECT_EQ(ran, 1);
}

TEST(ThreadTest, LeavesSignalsToTheApplicationButNotItsOwnFaults) {
  sigset_t mask;
  {
    const absl::StatusOr<Thread> thread =
        Thread::Start("test", [&mask] { pthread_sigmask(SIG_SETMASK, nullptr, &mask); });
    ASSERT_TRUE(thread.ok());
  }

  EXPECT_TRUE(sigismember(&mask, SIGTERM));
  EXPECT_TRUE(sigismember(&mask, SIGUSR1));
  EXPECT_FALSE(sigismember(&mask, SIGBUS));
  EXPECT_FALSE(sigismember(&mask, SIGSEGV));
}

TEST(ThreadTest, LeavesTheSignalMaskOfItsMakerAlone) {
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);

  ASSERT_TRUE(Thread::Start("test", [] {}).ok());

  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

TEST(ThreadTest, HasAStackThatAHugePageDoesNotFit) {
  size_t stack_bytes = 0;
  {
    const absl::StatusOr<Thread> thread = Thread::Start("test", [&stack_bytes] {
      pthread_attr_t attributes;
      pthread_getattr_np(pthread_self(), &attributes);
      pthread_attr_getstacksize(&attributes, &stack_bytes);
      pthread_attr_destroy(&attributes);
    });
    ASSERT_TRUE(thread.ok());
  }

  EXPECT_GT(stack_bytes, 256u << 10);
  EXPECT_LT(stack_bytes, 2u << 20);
}

}  // namespace
}  // namespace vfio_user
