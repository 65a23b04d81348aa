// Many threads in one channel. Whoever is not woken when it should be runs into its deadline.
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <random>
#include <span>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/channel_fixture.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;

// Answers commands with their own bodies, in another order than they came in, and sends commands
// in between. Ends with the connection.
void Echo(ScriptedPeer& peer) {
  std::mt19937 random(static_cast<uint32_t>(testing::UnitTest::GetInstance()->random_seed()));
  std::vector<ScriptedPeer::Message> open;
  uint16_t next_id = 0;
  while (true) {
    pollfd entry = {.fd = peer.fd().get(), .events = POLLIN, .revents = 0};
    if (open.empty() || (open.size() < 4 && ::poll(&entry, 1, 0) > 0)) {
      auto message = peer.Receive();
      if (!message.ok()) return;
      if (message->header.is_command()) open.push_back(*std::move(message));
      continue;
    }
    // Not between long messages: a peer that sends one reads nothing meanwhile, and neither does
    // who has to answer a command.
    if (open.back().body.size() < 100 && random() % 2 == 0 &&
        !peer.Send({.msg_id = next_id++, .command = Command::kDmaRead}, {{1}}).ok()) {
      return;
    }
    std::shuffle(open.begin(), open.end(), random);
    if (!peer.Reply(open.back().header, open.back().body).ok()) return;
    open.pop_back();
  }
}

// Who reads besides the callers; the test's other parameter is how long they spin.
enum class Reader { kNobody, kServe, kServeWhenIdle, kPoll, kAll };

class ChannelEchoTest : public ChannelFixture,
                        public testing::WithParamInterface<std::tuple<Reader, absl::Duration>> {
 protected:
  ChannelEchoTest() : ChannelFixture({.busy_poll = std::get<1>(GetParam())}) {
    handler_ = [this](IncomingCommand& command) {
      EXPECT_FALSE(in_handler_.exchange(true)) << "two threads read";
      ++commands_;
      const absl::Status status = channel_.Reply(command.header, {command.body, {}, {}});
      in_handler_ = false;
      return status;
    };
    threads_.emplace_back([this] { Echo(peer_); });
    const Reader reader = std::get<0>(GetParam());
    if (reader == Reader::kServeWhenIdle || reader == Reader::kAll) {
      threads_.emplace_back([this] { (void)channel_.ServeWhenIdle(); });
    }
    if (reader == Reader::kPoll || reader == Reader::kAll) {
      threads_.emplace_back([this] {
        while (channel_.Poll().ok()) std::this_thread::yield();
      });
    }
    if (reader == Reader::kServe) threads_.emplace_back([this] { (void)channel_.Serve(); });
  }
  ~ChannelEchoTest() override {
    channel_.Close(absl::CancelledError("the test ends"));
    for (std::thread& thread : threads_) thread.join();
  }

  // Runs `work` with its number on each of `count` threads.
  template <typename Work>
  static void OnThreads(int count, Work work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
  }

  std::atomic<bool> in_handler_ = false;
  std::atomic<int> commands_ = 0;
  std::vector<std::thread> threads_;
};

std::vector<uint8_t> BodyOf(int thread, int call) {
  std::vector<uint8_t> body(8);
  std::memcpy(&body[0], &thread, sizeof(thread));
  std::memcpy(&body[4], &call, sizeof(call));
  return body;
}

TEST_P(ChannelEchoTest, EachOfManyCallersGetsItsReply) {
  OnThreads(4, [this](int thread) {
    for (int i = 0; i < 50; ++i) {
      const std::vector<uint8_t> body = BodyOf(thread, i);
      PendingCall call;
      ASSERT_THAT(channel_.Call(Command::kRegionRead, {body, {}, {}}, call, Soon()), IsOk());
      ASSERT_THAT(call.body(), ElementsAreArray(body));
    }
  });

  EXPECT_THAT(channel_.status(), IsOk());
  EXPECT_GT(commands_, 0);
}

TEST_P(ChannelEchoTest, ServingMayBeginAmongCalls) {
  OnThreads(3, [this](int thread) {
    for (int i = 0; i < 30; ++i) {
      if (thread == 0 && i == 15) threads_.emplace_back([this] { (void)channel_.Serve(); });
      const std::vector<uint8_t> body = BodyOf(thread, i);
      PendingCall call;
      ASSERT_THAT(channel_.Call(Command::kRegionRead, {body, {}, {}}, call, Soon()), IsOk());
      ASSERT_THAT(call.body(), ElementsAreArray(body));
    }
  });
}

// More than a socket's buffer holds: who sends has to stop on the way.
TEST_P(ChannelEchoTest, LongMessagesOfManyThreadsDoNotMix) {
  OnThreads(3, [this](int thread) {
    for (int i = 0; i < 4; ++i) {
      const std::vector<uint8_t> body(400'000, static_cast<uint8_t>(3 * i + thread));
      PendingCall call;
      ASSERT_THAT(channel_.Call(Command::kRegionRead, {body, {}, {}}, call, Soon()), IsOk());
      ASSERT_TRUE(std::equal(body.begin(), body.end(), call.body().begin(), call.body().end()));
    }
  });
}

TEST_P(ChannelEchoTest, CallsMayBeStartedTogetherAndWaitedForInAnyOrder) {
  OnThreads(3, [this](int thread) {
    for (int round = 0; round < 10; ++round) {
      std::vector<PendingCall> calls(8);
      std::vector<std::vector<uint8_t>> bodies;
      for (int i = 0; i < 8; ++i) {
        bodies.push_back(BodyOf(thread, i));
        ASSERT_THAT(channel_.Start(Command::kRegionRead, {bodies.back(), {}, {}},
                                   calls[static_cast<size_t>(i)], Deadline::Never()),
                    IsOk());
      }
      for (const size_t i : {size_t{3}, size_t{7}, size_t{0}, size_t{1}, size_t{6}, size_t{2},
                             size_t{5}, size_t{4}}) {
        ASSERT_THAT(channel_.Wait(calls[i], Soon()), IsOk());
        ASSERT_THAT(calls[i].body(), ElementsAreArray(bodies[i]));
      }
    }
  });
}

// Threads that give up hand the reading on like others.
TEST_P(ChannelEchoTest, CallersWithDeadlinesHoldNobodyUp) {
  OnThreads(4, [this](int thread) {
    for (int i = 0; i < 50; ++i) {
      const std::vector<uint8_t> body = BodyOf(thread, i);
      PendingCall call;
      const bool patient = (thread + i) % 2 == 0;
      const Deadline deadline = patient ? Soon() : Deadline::In(absl::Microseconds(10 * (i % 5)));
      const absl::Status status =
          channel_.Call(Command::kRegionRead, {body, {}, {}}, call, deadline);
      if (status.ok()) {
        ASSERT_THAT(call.body(), ElementsAreArray(body));
      } else {
        ASSERT_FALSE(patient) << status;
        ASSERT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded));
      }
    }
  });

  EXPECT_THAT(channel_.status(), IsOk());
}

TEST_P(ChannelEchoTest, CallsThatAreCancelledHoldNobodyUp) {
  OnThreads(3, [this](int thread) {
    for (int i = 0; i < 30; ++i) {
      const std::vector<uint8_t> body = BodyOf(thread, i);
      PendingCall call;
      ASSERT_THAT(channel_.Start(Command::kRegionRead, {body, {}, {}}, call, Deadline::Never()),
                  IsOk());
      std::thread canceller;
      if (thread == 0) {
        canceller = std::thread([&] { channel_.Cancel(call, absl::CancelledError("enough")); });
      }
      const absl::Status status = channel_.Wait(call, Soon());
      if (canceller.joinable()) canceller.join();
      if (status.ok()) {
        ASSERT_THAT(call.body(), ElementsAreArray(body));
      } else {
        ASSERT_EQ(thread, 0);
        ASSERT_EQ(status, absl::CancelledError("enough"));
      }
    }
  });

  EXPECT_THAT(channel_.status(), IsOk());
}

INSTANTIATE_TEST_SUITE_P(
    Readers, ChannelEchoTest,
    testing::Combine(testing::Values(Reader::kNobody, Reader::kServe, Reader::kServeWhenIdle,
                                     Reader::kPoll, Reader::kAll),
                     testing::Values(absl::ZeroDuration(), absl::Microseconds(50))));

class ChannelThreadsTest : public ChannelFixture {
 protected:
  ChannelThreadsTest() : ChannelFixture({.stall_timeout = absl::Milliseconds(200)}) {}

  // Waits until the other end has read all that was sent to it.
  void AwaitRead() {
    int unread = 1;
    while (unread > 0) {
      ASSERT_EQ(::ioctl(peer_.fd().get(), SIOCOUTQ, &unread), 0);
      std::this_thread::yield();
    }
  }

  // Sends the header of a reply with a body of `bytes`, and its first byte.
  void SendBeginningOfReply(const MessageHeader& request, uint32_t bytes) {
    MessageHeader reply = request.Reply();
    reply.msg_size = 16 + bytes;
    ASSERT_THAT(peer_.SendBytes(reply.Serialize()), IsOk());
    ASSERT_THAT(peer_.SendBytes({{1}}), IsOk());
  }
};

TEST_F(ChannelThreadsTest, EveryoneGetsTheSameErrorWhenThePeerDies) {
  std::vector<std::future<absl::Status>> results;
  for (int i = 0; i < 4; ++i) {
    results.push_back(std::async(std::launch::async, [this] {
      PendingCall call;
      return channel_.Call(Command::kRegionRead, {}, call, Deadline::Never());
    }));
  }
  results.push_back(std::async(std::launch::async, [this] { return channel_.ServeWhenIdle(); }));
  results.push_back(std::async(std::launch::async, [this] { return channel_.Serve(); }));
  for (int i = 0; i < 4; ++i) ASSERT_THAT(peer_.Receive(), IsOk());

  peer_.Close();

  std::vector<absl::Status> statuses;
  for (auto& result : results) statuses.push_back(result.get());
  EXPECT_THAT(statuses, Each(channel_.status()));
  EXPECT_THAT(channel_.status(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ChannelThreadsTest, CloseWakesEveryCall) {
  std::vector<std::future<absl::Status>> results;
  for (int i = 0; i < 4; ++i) {
    results.push_back(std::async(std::launch::async, [this] {
      PendingCall call;
      return channel_.Call(Command::kRegionRead, {}, call, Deadline::Never());
    }));
  }
  for (int i = 0; i < 4; ++i) ASSERT_THAT(peer_.Receive(), IsOk());

  channel_.Close(absl::CancelledError("the user left"));

  for (auto& result : results) EXPECT_EQ(result.get(), absl::CancelledError("the user left"));
}

// Calls end with their own threads' stacks: what still pointed to one would be found here.
TEST_F(ChannelThreadsTest, CallsMayBeStartedWhileThePeerDies) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this] {
      while (true) {
        const auto call = std::make_unique<PendingCall>();
        if (!channel_.Call(Command::kRegionRead, {}, *call, Deadline::Never()).ok()) return;
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    const auto request = peer_.Receive();
    ASSERT_THAT(request, IsOk());
    ASSERT_THAT(peer_.Reply(request->header), IsOk());
  }

  peer_.Close();

  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(channel_.status(), StatusIs(absl::StatusCode::kUnavailable));
}

// A deadline that passes while the reply arrives ends nothing: its buffer is being written.
TEST_F(ChannelThreadsTest, WaitsWithoutEffortForAReplyThatHasBegun) {
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  std::thread server([this] { (void)channel_.Serve(); });
  SendBeginningOfReply(request, 4);
  AwaitRead();
  timespec before = {};
  timespec after = {};

  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  const absl::Status status = channel_.Wait(call, AtOnce());
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_LT(absl::DurationFromTimespec(after) - absl::DurationFromTimespec(before),
            absl::Milliseconds(20));
  server.join();
}

TEST_F(ChannelThreadsTest, AReplyThatHasBegunCannotBeCancelled) {
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  std::thread server([this] { (void)channel_.Serve(); });
  SendBeginningOfReply(request, 2);
  AwaitRead();

  channel_.Cancel(call, absl::CancelledError("reset"));

  EXPECT_THAT(peer_.SendBytes({{2}}), IsOk());
  EXPECT_THAT(channel_.Wait(call, Soon()), IsOk());
  EXPECT_THAT(call.body(), ElementsAre(1, 2));
  peer_.Close();
  server.join();
}

TEST_F(ChannelThreadsTest, AReplyThatHasBegunOutlivesItsDeadline) {
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  std::thread server([this] { (void)channel_.Serve(); });
  SendBeginningOfReply(request, 2);
  AwaitRead();
  std::thread finisher([this] { EXPECT_THAT(peer_.SendBytes({{2}}), IsOk()); });

  EXPECT_THAT(channel_.Wait(call, AtOnce()), IsOk());

  EXPECT_THAT(call.body(), ElementsAre(1, 2));
  finisher.join();
  peer_.Close();
  server.join();
}

// A reply to a request that is still being sent: the peer is mad, and must not make Start return
// while the reader writes into what the caller then frees.
TEST_F(ChannelThreadsTest, StartThatFailsWaitsForTheReaderToLetGo) {
  std::thread server([this] { (void)channel_.Serve(); });
  std::thread madman([this] {
    const auto beginning = peer_.ReceiveChunk(16);
    ASSERT_THAT(beginning, IsOk());
    std::array<uint8_t, 16> header = {};
    std::copy(beginning->bytes.begin(), beginning->bytes.end(), header.begin());
    SendBeginningOfReply(MessageHeader::Parse(header), 1 << 20);
    AwaitRead();
    channel_.Close(absl::CancelledError("the user left"));
  });
  const std::vector<uint8_t> body(8 << 20);
  auto room = std::make_unique<std::vector<std::byte>>(1 << 20);
  const std::vector<std::span<std::byte>> pieces = {*room};
  auto call = std::make_unique<PendingCall>(0, pieces);

  const absl::Status status =
      channel_.Start(Command::kRegionWrite, {body, {}, {}}, *call, Deadline::Never());

  call.reset();
  room.reset();
  EXPECT_EQ(status, absl::CancelledError("the user left"));
  madman.join();
  server.join();
}

}  // namespace
}  // namespace vfio_user
