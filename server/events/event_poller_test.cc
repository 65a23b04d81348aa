#include "server/events/event_poller.h"

#include <sys/eventfd.h>

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "server/events/event_fd.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

std::shared_ptr<const EventFd> NewEvent() {
  absl::StatusOr<EventFd> event = EventFd::Create();
  return event.ok() ? std::make_shared<const EventFd>(*std::move(event)) : nullptr;
}

class EventPollerTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<EventPoller>> poller = EventPoller::Create();
    ASSERT_THAT(poller, IsOk());
    poller_ = *std::move(poller);
    ASSERT_NE(event_, nullptr);
  }

  EventPoller::Watch Add(const std::shared_ptr<const EventFd>& event,
                         EventPoller::Handler handler) {
    absl::StatusOr<EventPoller::Watch> watch = poller_->Add(event, std::move(handler));
    EXPECT_THAT(watch, IsOk());
    return watch.ok() ? *std::move(watch) : EventPoller::Watch();
  }

  std::unique_ptr<EventPoller> poller_;
  std::shared_ptr<const EventFd> event_ = NewEvent();
};

TEST_F(EventPollerTest, CallsTheHandlerForWhatTheCounterIsAlready) {
  event_->Signal();
  event_->Signal();
  event_->Signal();
  std::promise<uint64_t> count;

  const EventPoller::Watch watch =
      Add(event_, [&](const EventFd& event) { count.set_value(event.Take()); });

  EXPECT_EQ(count.get_future().get(), 3u);
  EXPECT_EQ(event_->Take(), 0u);
}

TEST_F(EventPollerTest, CallsItAgainForTheNextSignal) {
  std::atomic<int> calls = 0;
  const EventPoller::Watch watch = Add(event_, [&](const EventFd&) {
    ++calls;
    calls.notify_all();
  });

  for (int i = 0; i < 3; ++i) {
    event_->Signal();
    calls.wait(i);
  }

  EXPECT_EQ(calls, 3);
}

TEST_F(EventPollerTest, TellsEventsApart) {
  const std::shared_ptr<const EventFd> other = NewEvent();
  std::promise<void> called;
  const EventPoller::Watch quiet = Add(event_, [&](const EventFd&) { ADD_FAILURE(); });
  const EventPoller::Watch watch = Add(other, [&](const EventFd&) { called.set_value(); });

  other->Signal();

  called.get_future().get();
}

TEST_F(EventPollerTest, IsNotKeptBusyByWhatASemaphoreStillCounts) {
  absl::StatusOr<EventFd> adopted =
      EventFd::Adopt(UniqueFd(::eventfd(1000, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)));
  ASSERT_THAT(adopted, IsOk());
  const auto semaphore = std::make_shared<const EventFd>(*std::move(adopted));
  std::atomic<int> calls = 0;
  std::atomic<int> rounds = 0;
  const EventPoller::Watch watch = Add(semaphore, [&](const EventFd& event) {
    ++calls;
    EXPECT_EQ(event.Take(), 1u);
  });
  const EventPoller::Watch others = Add(event_, [&](const EventFd& event) {
    (void)event.Take();
    ++rounds;
    rounds.notify_all();
  });

  // Each round the poller would find it again.
  for (int i = 0; i < 20; ++i) {
    event_->Signal();
    rounds.wait(i);
  }

  EXPECT_EQ(calls, 1);
}

TEST_F(EventPollerTest, CallsNothingOnceTheWatchIsGone) {
  std::promise<void> other_called;
  const std::shared_ptr<const EventFd> other = NewEvent();
  const EventPoller::Watch last = Add(other, [&](const EventFd&) { other_called.set_value(); });
  {
    EventPoller::Watch watch = Add(event_, [&](const EventFd&) { ADD_FAILURE(); });
  }

  event_->Signal();
  other->Signal();

  other_called.get_future().get();
  EXPECT_EQ(event_->Take(), 1u);
}

TEST_F(EventPollerTest, WaitsForARunningHandlerWhenTheWatchGoes) {
  std::promise<void> running;
  std::promise<void> go_on;
  std::atomic<bool> done = false;
  std::optional<EventPoller::Watch> watch = Add(event_, [&](const EventFd&) {
    running.set_value();
    go_on.get_future().get();
    done = true;
  });
  event_->Signal();
  running.get_future().get();

  std::thread helper([&] { go_on.set_value(); });
  watch.reset();

  EXPECT_TRUE(done);
  helper.join();
}

TEST_F(EventPollerTest, LetsAHandlerEndItsOwnWatch) {
  std::optional<EventPoller::Watch> watch;
  std::promise<void> ended;
  std::promise<void> kept;
  const std::shared_future<void> is_kept = kept.get_future().share();
  watch = Add(event_, [&](const EventFd&) {
    is_kept.get();
    watch.reset();
    ended.set_value();
  });
  kept.set_value();

  event_->Signal();

  ended.get_future().get();
  EXPECT_FALSE(watch.has_value());
}

TEST_F(EventPollerTest, KeepsNoDescriptorOfAWatchThatIsGone) {
  const int before = OpenFdCount();

  for (int i = 0; i < 100; ++i) {
    const EventPoller::Watch watch = Add(NewEvent(), [](const EventFd&) {});
  }

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(EventPollerTest, SurvivesWatchesThatComeAndGoWhileTheyAreSignalled) {
  std::atomic<bool> stop = false;
  std::thread signaller([&] {
    while (!stop) event_->Signal();
  });

  for (int i = 0; i < 200; ++i) {
    // Gone with the watch: a handler that ran later would use it.
    auto calls = std::make_unique<int>(0);
    const EventPoller::Watch watch = Add(event_, [&calls](const EventFd&) { ++*calls; });
  }

  stop = true;
  signaller.join();
}

}  // namespace
}  // namespace vfio_user
