// Who reads next, and who is woken: one thread is held inside a handler, so that it has the reading
// role, while another is seen to sleep in its call.
#include <unistd.h>

#include <functional>
#include <future>
#include <list>
#include <thread>
#include <utility>

#include "absl/status/status.h"
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

using testing::ElementsAre;

// A thread in a call of the channel.
struct Caller {
  std::promise<pid_t> started;
  absl::Status status;
  std::thread thread;
};

class ChannelHandoverTest : public ChannelFixture {
 protected:
  ChannelHandoverTest() {
    handler_ = [this](IncomingCommand& command) {
      if (command.header.command == Command::kDmaRead) {
        in_handler_.set_value();
        go_on_.get_future().wait();
      }
      return channel_.Reply(command.header);
    };
  }
  ~ChannelHandoverTest() override {
    channel_.Close(absl::CancelledError("the test ends"));
    for (Caller& caller : callers_) {
      if (caller.thread.joinable()) caller.thread.join();
    }
  }

  Caller& Run(std::function<absl::Status()> call) {
    Caller& caller = callers_.emplace_back();
    caller.thread = std::thread([&caller, call = std::move(call)] {
      caller.started.set_value(::gettid());
      caller.status = call();
    });
    return caller;
  }

  // Runs `call` until it sleeps.
  Caller& RunAsleep(std::function<absl::Status()> call) {
    Caller& caller = Run(std::move(call));
    EXPECT_TRUE(AwaitAsleep(caller.started.get_future().get()));
    return caller;
  }

  // Runs `call`, which has to read, and holds it in the handler until LetGo().
  Caller& RunHeld(std::function<absl::Status()> call) {
    EXPECT_THAT(peer_.Send({.command = Command::kDmaRead}), IsOk());
    Caller& caller = Run(std::move(call));
    in_handler_.get_future().wait();
    return caller;
  }
  void LetGo() { go_on_.set_value(); }

  // Somebody reads, and answers what the held command was followed by.
  void ExpectServed() {
    EXPECT_THAT(peer_.Send({.msg_id = 9, .command = Command::kDmaWrite}), IsOk());
    EXPECT_THAT(peer_.Receive(), IsOk());
    const auto reply = peer_.Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.msg_id, 9);
  }

  static absl::Status Join(Caller& caller) {
    caller.thread.join();
    return caller.status;
  }

  std::function<absl::Status()> WaitFor(PendingCall& call) {
    return [this, &call] { return channel_.Wait(call, Soon()); };
  }

 private:
  std::promise<void> in_handler_;
  std::promise<void> go_on_;
  std::list<Caller> callers_;
};

TEST_F(ChannelHandoverTest, ACallThatIsDoneHandsTheRoleOn) {
  PendingCall first;
  PendingCall second;
  const MessageHeader first_request = StartAndSee(first);
  const MessageHeader second_request = StartAndSee(second);
  Caller& reader = RunHeld(WaitFor(first));
  Caller& sleeper = RunAsleep(WaitFor(second));
  ASSERT_THAT(peer_.Reply(first_request), IsOk());

  LetGo();

  EXPECT_THAT(Join(reader), IsOk());
  ASSERT_THAT(peer_.Reply(second_request), IsOk());
  EXPECT_THAT(Join(sleeper), IsOk());
}

TEST_F(ChannelHandoverTest, ACallThatGivesUpHandsTheRoleOn) {
  PendingCall first;
  PendingCall second;
  StartAndSee(first);
  const MessageHeader second_request = StartAndSee(second);
  Caller& reader = RunHeld([&] { return channel_.Wait(first, AtOnce()); });
  Caller& sleeper = RunAsleep(WaitFor(second));

  LetGo();

  EXPECT_THAT(Join(reader), StatusIs(absl::StatusCode::kDeadlineExceeded));
  ASSERT_THAT(peer_.Reply(second_request), IsOk());
  EXPECT_THAT(Join(sleeper), IsOk());
}

TEST_F(ChannelHandoverTest, AReaderPassesOnWhatBelongsToOthers) {
  PendingCall first;
  PendingCall second;
  const MessageHeader first_request = StartAndSee(first);
  const MessageHeader second_request = StartAndSee(second);
  Caller& reader = RunHeld(WaitFor(first));
  Caller& sleeper = RunAsleep(WaitFor(second));
  ASSERT_THAT(peer_.Reply(second_request, {{2}}), IsOk());

  LetGo();

  EXPECT_THAT(Join(sleeper), IsOk());
  EXPECT_THAT(second.body(), ElementsAre(2));
  ASSERT_THAT(peer_.Reply(first_request), IsOk());
  EXPECT_THAT(Join(reader), IsOk());
}

TEST_F(ChannelHandoverTest, ServeWhenIdleHandsTheRoleToACall) {
  RunHeld([this] { return channel_.ServeWhenIdle(); });
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  Caller& sleeper = RunAsleep(WaitFor(call));

  LetGo();

  ASSERT_THAT(peer_.Reply(request), IsOk());
  EXPECT_THAT(Join(sleeper), IsOk());
}

TEST_F(ChannelHandoverTest, PollHandsTheRoleToACall) {
  Caller& poller = RunHeld([this] { return channel_.Poll(); });
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  Caller& sleeper = RunAsleep(WaitFor(call));

  LetGo();

  EXPECT_THAT(Join(poller), IsOk());
  ASSERT_THAT(peer_.Reply(request), IsOk());
  EXPECT_THAT(Join(sleeper), IsOk());
}

TEST_F(ChannelHandoverTest, ACallThatIsDoneWakesWhoServes) {
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  Caller& reader = RunHeld(WaitFor(call));
  RunAsleep([this] { return channel_.Serve(); });
  ASSERT_THAT(peer_.Reply(request), IsOk());

  LetGo();

  EXPECT_THAT(Join(reader), IsOk());
  ExpectServed();
}

TEST_F(ChannelHandoverTest, ACallThatIsDoneWakesWhoServesWhenIdle) {
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  Caller& reader = RunHeld(WaitFor(call));
  RunAsleep([this] { return channel_.ServeWhenIdle(); });
  ASSERT_THAT(peer_.Reply(request), IsOk());

  LetGo();

  EXPECT_THAT(Join(reader), IsOk());
  ExpectServed();
}

TEST_F(ChannelHandoverTest, CancelWakesACallThatSleeps) {
  PendingCall first;
  PendingCall second;
  StartAndSee(first);
  StartAndSee(second);
  Caller& reader = RunHeld(WaitFor(first));
  Caller& sleeper = RunAsleep(WaitFor(second));

  channel_.Cancel(second, absl::CancelledError("reset"));

  EXPECT_EQ(Join(sleeper), absl::CancelledError("reset"));
  channel_.Close(absl::CancelledError("the test ends"));
  LetGo();
  EXPECT_EQ(Join(reader), absl::CancelledError("the test ends"));
}

TEST_F(ChannelHandoverTest, CancelEndsTheWaitOfTheReaderToo) {
  PendingCall call;
  StartAndSee(call);
  Caller& reader = RunAsleep([&] { return channel_.Wait(call, Deadline::Never()); });

  channel_.Cancel(call, absl::CancelledError("reset"));

  EXPECT_EQ(Join(reader), absl::CancelledError("reset"));
}

TEST_F(ChannelHandoverTest, CloseWakesACallThatSleeps) {
  PendingCall first;
  PendingCall second;
  StartAndSee(first);
  StartAndSee(second);
  Caller& reader = RunHeld(WaitFor(first));
  Caller& sleeper = RunAsleep(WaitFor(second));

  channel_.Close(absl::CancelledError("the user left"));

  EXPECT_EQ(Join(sleeper), absl::CancelledError("the user left"));
  LetGo();
  EXPECT_EQ(Join(reader), absl::CancelledError("the user left"));
}

}  // namespace
}  // namespace vfio_user
