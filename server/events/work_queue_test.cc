#include "server/events/work_queue.h"

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

class WorkQueueTest : public testing::Test {
 protected:
  ~WorkQueueTest() override {
    queue_.Close();
    if (worker_.joinable()) worker_.join();
  }

  void StartWorker() {
    worker_ = std::thread([this] { queue_.Run(); });
  }

  // Occupies the worker until the returned promise is set.
  std::promise<void> OccupyWorker() {
    std::promise<void> release;
    std::promise<void> begun;
    queue_.Post([&begun, released = release.get_future().share()] {
      begun.set_value();
      released.wait();
    });
    begun.get_future().wait();
    return release;
  }

  WorkQueue queue_;
  std::thread worker_;
};

TEST_F(WorkQueueTest, RunsWorkInTheOrderOfPosting) {
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) queue_.Post([&order, i] { order.push_back(i); });

  StartWorker();
  queue_.WaitUntilIdle();

  EXPECT_THAT(order, ElementsAre(0, 1, 2));
}

TEST_F(WorkQueueTest, WaitsForWorkThatWorkPosted) {
  std::vector<int> order;
  queue_.Post([&] {
    order.push_back(1);
    queue_.Post([&order] { order.push_back(2); });
  });

  StartWorker();
  queue_.WaitUntilIdle();

  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST_F(WorkQueueTest, HoldsBackWhatIsPostedDuringAHold) {
  StartWorker();
  std::atomic<bool> held_work_ran = false;
  {
    const WorkQueue::Hold hold(queue_);
    queue_.Post([&held_work_ran] { held_work_ran = true; });
    // The worker is awake and would have taken the work by now, were it ready.
    std::this_thread::yield();
    EXPECT_FALSE(held_work_ran);
  }
  queue_.WaitUntilIdle();

  EXPECT_TRUE(held_work_ran);
}

TEST_F(WorkQueueTest, RunsWhatWasPostedBeforeAHold) {
  StartWorker();
  std::promise<void> release = OccupyWorker();
  std::promise<void> ran;
  queue_.Post([&ran] { ran.set_value(); });

  const WorkQueue::Hold hold(queue_);
  release.set_value();

  ran.get_future().wait();
}

TEST_F(WorkQueueTest, KeepsTheOrderAcrossAHold) {
  StartWorker();
  std::promise<void> release = OccupyWorker();
  std::vector<int> order;
  queue_.Post([&order] { order.push_back(1); });
  {
    const WorkQueue::Hold hold(queue_);
    queue_.Post([&order] { order.push_back(2); });
  }
  queue_.Post([&order] { order.push_back(3); });

  release.set_value();
  queue_.WaitUntilIdle();

  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST_F(WorkQueueTest, HoldsAgainAndAgainWhileTheWorkerIsBusy) {
  StartWorker();
  std::atomic<int> ran = 0;
  for (int i = 0; i < 1000; ++i) {
    const WorkQueue::Hold hold(queue_);
    queue_.Post([&ran] { ++ran; });
    ASSERT_LE(ran, i);
  }
  queue_.WaitUntilIdle();

  EXPECT_EQ(ran, 1000);
}

TEST_F(WorkQueueTest, DropsWhatHasNotBegunWhenClosed) {
  StartWorker();
  std::promise<void> release = OccupyWorker();
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  std::atomic<bool> ran = false;
  queue_.Post([&ran, owned = std::move(owned)] { ran = true; });

  queue_.Close();

  EXPECT_TRUE(watch.expired());
  release.set_value();
  worker_.join();
  EXPECT_FALSE(ran);
}

TEST_F(WorkQueueTest, DropsWhatIsPostedAfterClose) {
  queue_.Close();
  bool ran = false;

  queue_.Post([&ran] { ran = true; });
  queue_.Run();

  EXPECT_FALSE(ran);
  queue_.WaitUntilIdle();
}

}  // namespace
}  // namespace vfio_user
