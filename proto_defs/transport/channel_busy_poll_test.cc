// A channel whose readers spin before they block.
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <future>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/channel_fixture.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/thread_state.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

// Spins longer than any test takes, so that nothing here comes about by blocking.
class ChannelSpinningTest : public ChannelFixture {
 protected:
  ChannelSpinningTest() : ChannelFixture({.busy_poll = absl::Hours(1)}) {}
};

TEST_F(ChannelSpinningTest, ReadsAReplyThatIsThere) {
  PendingCall call;
  const MessageHeader header = StartAndSee(call);
  ASSERT_THAT(peer_.Reply(header, {{1, 2, 3}}), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_THAT(call.body(), ElementsAre(1, 2, 3));
}

TEST_F(ChannelSpinningTest, ReadsAReplyThatComesLater) {
  PendingCall call;
  const MessageHeader header = StartAndSee(call);
  std::future<absl::Status> waited =
      std::async(std::launch::async, [&] { return channel_.Wait(call, Soon()); });

  ASSERT_THAT(peer_.Reply(header, {{4}}), IsOk());

  EXPECT_THAT(waited.get(), IsOk());
  EXPECT_THAT(call.body(), ElementsAre(4));
}

TEST_F(ChannelSpinningTest, KeepsItsDeadline) {
  PendingCall call;
  StartAndSee(call);

  EXPECT_THAT(channel_.Wait(call, Deadline::In(absl::Milliseconds(5))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(ChannelSpinningTest, EndsWhenThePeerIsGone) {
  PendingCall call;
  StartAndSee(call);
  std::future<absl::Status> waited =
      std::async(std::launch::async, [&] { return channel_.Wait(call, Deadline::Never()); });

  peer_.Close();

  EXPECT_THAT(waited.get(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ChannelSpinningTest, EndsWhenItIsClosed) {
  PendingCall call;
  StartAndSee(call);
  std::future<absl::Status> waited =
      std::async(std::launch::async, [&] { return channel_.Wait(call, Deadline::Never()); });
  std::future<absl::Status> served =
      std::async(std::launch::async, [&] { return channel_.Serve(); });

  channel_.Close(absl::CancelledError("the user left"));

  EXPECT_EQ(waited.get(), absl::CancelledError("the user left"));
  EXPECT_EQ(served.get(), absl::CancelledError("the user left"));
}

TEST_F(ChannelSpinningTest, EndsWhenTheCallIsCancelled) {
  PendingCall call;
  StartAndSee(call);
  std::future<absl::Status> waited =
      std::async(std::launch::async, [&] { return channel_.Wait(call, Deadline::Never()); });

  channel_.Cancel(call, absl::CancelledError("reset"));

  EXPECT_EQ(waited.get(), absl::CancelledError("reset"));
}

absl::Duration ProcessorTimeOfThisThread() {
  timespec time = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

TEST_F(ChannelSpinningTest, ServesWithoutSpinningUntilThereHasBeenAMessage) {
  const absl::Duration before = ProcessorTimeOfThisThread();

  EXPECT_THAT(channel_.Serve(Deadline::In(absl::Milliseconds(100))), IsOk());

  EXPECT_LT(ProcessorTimeOfThisThread() - before, absl::Milliseconds(5));
}

class ChannelSpinsAWhileTest : public ChannelFixture {
 protected:
  ChannelSpinsAWhileTest() : ChannelFixture({.busy_poll = absl::Milliseconds(1)}) {
    handler_ = [this](IncomingCommand& command) { return channel_.Reply(command.header); };
    server_ = std::thread([this] {
      tid_ = ::gettid();
      (void)channel_.Serve();
    });
    while (tid_ == 0) std::this_thread::yield();
  }
  ~ChannelSpinsAWhileTest() override {
    channel_.Close(absl::CancelledError("the test ends"));
    server_.join();
  }

  std::atomic<pid_t> tid_ = 0;
  std::thread server_;
};

TEST_F(ChannelSpinsAWhileTest, BlocksAfterThatAndWakesForAMessage) {
  ASSERT_TRUE(AwaitAsleep(tid_));

  MessageHeader header;
  header.command = Command::kDeviceReset;
  ASSERT_THAT(peer_.Send(header), IsOk());

  EXPECT_THAT(peer_.Receive().status(), IsOk());
}

// Spins for longer than the time after which whoever waits looks whether its call was cancelled.
class ChannelSpinsAcrossLooksTest : public ChannelFixture {
 protected:
  ChannelSpinsAcrossLooksTest() : ChannelFixture({.busy_poll = absl::Milliseconds(50)}) {}
};

// If it spun anew after each look, it would never sleep.
TEST_F(ChannelSpinsAcrossLooksTest, BlocksForASlowReplyAllTheSame) {
  PendingCall call;
  const MessageHeader header = StartAndSee(call);
  std::atomic<pid_t> tid = 0;
  std::future<absl::Status> waited = std::async(std::launch::async, [&] {
    tid = ::gettid();
    return channel_.Wait(call, Soon());
  });
  while (tid == 0) std::this_thread::yield();

  EXPECT_TRUE(AwaitAsleep(tid));

  ASSERT_THAT(peer_.Reply(header), IsOk());
  EXPECT_THAT(waited.get(), IsOk());
}

}  // namespace
}  // namespace vfio_user
