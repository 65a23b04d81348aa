// The peer's commands: who serves them, and when.
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/channel_fixture.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr MessageHeader kDmaRead = {.msg_id = 7, .command = Command::kDmaRead};
constexpr MessageHeader kPostedDmaWrite = {
    .msg_id = 8, .command = Command::kDmaWrite, .no_reply = true};

class ChannelServeTest : public ChannelFixture {
 protected:
  // Answers every command with its own body.
  void Echo() {
    handler_ = [this](IncomingCommand& command) {
      return channel_.Reply(command.header, {.body = command.body, .payload = {}, .fds = {}});
    };
  }

  // The body of the next message, which has to be a reply.
  std::vector<uint8_t> NextReply() {
    const auto message = peer_.Receive();
    EXPECT_THAT(message, IsOk());
    if (!message.ok()) return {};
    EXPECT_TRUE(message->header.is_reply());
    return message->body;
  }
};

TEST_F(ChannelServeTest, ServesCommandsInTheirOrder) {
  std::vector<std::vector<uint8_t>> bodies;
  handler_ = [&](IncomingCommand& command) {
    bodies.emplace_back(command.body.begin(), command.body.end());
    return channel_.Reply(command.header);
  };
  ASSERT_THAT(peer_.Send(kDmaRead, {{1, 2, 3}}), IsOk());
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());
  ASSERT_THAT(peer_.Send(kDmaRead, {{4, 5}}), IsOk());

  EXPECT_THAT(channel_.Poll(), IsOk());

  EXPECT_THAT(bodies, ElementsAre(ElementsAre(1, 2, 3), IsEmpty(), ElementsAre(4, 5)));
}

TEST_F(ChannelServeTest, PollHandlesNoMoreThanItIsToldTo) {
  int handled = 0;
  handler_ = [&](IncomingCommand& command) {
    ++handled;
    return channel_.Reply(command.header);
  };
  for (int i = 0; i < 3; ++i) ASSERT_THAT(peer_.Send(kDmaRead), IsOk());

  EXPECT_THAT(channel_.Poll(2), IsOk());
  EXPECT_EQ(handled, 2);
  EXPECT_THAT(channel_.Poll(2), IsOk());
  EXPECT_EQ(handled, 3);
}

TEST_F(ChannelServeTest, ServesWhatIsThereAndReturnsAtTheDeadline) {
  int handled = 0;
  handler_ = [&](IncomingCommand& command) {
    ++handled;
    return channel_.Reply(command.header);
  };
  for (int i = 0; i < 3; ++i) ASSERT_THAT(peer_.Send(kDmaRead), IsOk());

  EXPECT_THAT(channel_.Serve(Deadline::Past()), IsOk());

  EXPECT_EQ(handled, 3);
}

TEST_F(ChannelServeTest, RepliesWithIdCommandAndContent) {
  const UniqueFd file = Memfd("abc");
  handler_ = [&](IncomingCommand& command) {
    const std::vector<FdView> fds = {file};
    const std::vector<std::byte> piece = {std::byte{2}};
    const std::vector<std::span<const std::byte>> payload = {piece};
    return channel_.Reply(command.header, {.body = {{1}}, .payload = payload, .fds = fds});
  };
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());

  ASSERT_THAT(channel_.Poll(), IsOk());

  const auto reply = peer_.Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_TRUE(reply->header.is_reply());
  EXPECT_FALSE(reply->header.error_flag);
  EXPECT_EQ(reply->header.msg_id, 7);
  EXPECT_EQ(reply->header.command, Command::kDmaRead);
  EXPECT_THAT(reply->body, ElementsAre(1, 2));
  EXPECT_THAT(reply->fds, SizeIs(1));
}

TEST_F(ChannelServeTest, RepliesWithAnErrorInAHeaderAlone) {
  handler_ = [&](IncomingCommand& command) { return channel_.ReplyError(command.header, EFAULT); };
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());

  ASSERT_THAT(channel_.Poll(), IsOk());

  const auto reply = peer_.Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_TRUE(reply->header.error_flag);
  EXPECT_EQ(reply->header.error, static_cast<uint32_t>(EFAULT));
  EXPECT_THAT(reply->body, IsEmpty());
}

TEST_F(ChannelServeTest, SaysNothingToACommandThatWantsNoReply) {
  int handled = 0;
  handler_ = [&](IncomingCommand& command) {
    const absl::Status status = ++handled == 1 ? channel_.Reply(command.header)
                                               : channel_.ReplyError(command.header, EFAULT);
    return status;
  };
  ASSERT_THAT(peer_.Send(kPostedDmaWrite), IsOk());
  ASSERT_THAT(peer_.Send(kPostedDmaWrite), IsOk());

  ASSERT_THAT(channel_.Poll(), IsOk());

  EXPECT_EQ(handled, 2);
  channel_.Close(absl::CancelledError("the test ends"));
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(ChannelServeTest, GivesDescriptorsToTheHandlerAndClosesWhatItLeaves) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file, file};
  const int before = OpenFdCount();
  std::optional<UniqueFd> kept;
  handler_ = [&](IncomingCommand& command) {
    EXPECT_THAT(command.fds, SizeIs(2));
    kept = std::move(command.fds.at(0));
    return absl::OkStatus();
  };
  ASSERT_THAT(peer_.Send(kDmaRead, {}, fds), IsOk());

  ASSERT_THAT(channel_.Poll(), IsOk());

  ASSERT_TRUE(kept.has_value());
  EXPECT_TRUE(IsSameFile(*kept, file));
  EXPECT_EQ(OpenFdCount(), before + 1);
}

TEST_F(ChannelServeTest, LetsACommandBeAnsweredLater) {
  std::optional<MessageHeader> open;
  handler_ = [&](IncomingCommand& command) {
    open = command.header;
    return absl::OkStatus();
  };
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());
  ASSERT_THAT(channel_.Poll(), IsOk());
  ASSERT_TRUE(open.has_value());

  std::thread another([&] { EXPECT_THAT(channel_.Reply(*open, {{{9}}, {}, {}}), IsOk()); });
  another.join();

  EXPECT_THAT(NextReply(), ElementsAre(9));
}

TEST_F(ChannelServeTest, AnErrorOfTheHandlerBreaks) {
  handler_ = [](IncomingCommand&) { return absl::DataLossError("nonsense"); };
  PendingCall call;
  StartAndSee(call);
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());

  EXPECT_EQ(channel_.Poll(), absl::DataLossError("nonsense"));

  EXPECT_EQ(channel_.Wait(call, Soon()), absl::DataLossError("nonsense"));
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(ChannelServeTest, TheWaitingCallerServes) {
  std::thread::id server;
  handler_ = [&](IncomingCommand& command) {
    server = std::this_thread::get_id();
    return channel_.Reply(command.header, {{{5}}, {}, {}});
  };
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());
  ASSERT_THAT(peer_.Reply(request), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_EQ(server, std::this_thread::get_id());
  EXPECT_THAT(NextReply(), ElementsAre(5));
}

TEST_F(ChannelServeTest, PollDoesNotWait) { EXPECT_THAT(channel_.Poll(), IsOk()); }

TEST_F(ChannelServeTest, PollCompletesCalls) {
  PendingCall call;
  ASSERT_THAT(peer_.Reply(StartAndSee(call), {{1}}), IsOk());

  ASSERT_THAT(channel_.Poll(), IsOk());

  EXPECT_THAT(channel_.Wait(call, AtOnce()), IsOk());
  EXPECT_THAT(call.body(), ElementsAre(1));
}

TEST_F(ChannelServeTest, PollSaysWhyTheChannelBroke) {
  peer_.Close();

  EXPECT_THAT(channel_.Poll(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(channel_.Poll(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ChannelServeTest, PollLeavesTheReadingToWhoReads) {
  std::promise<void> in_handler;
  std::promise<void> go_on;
  handler_ = [&](IncomingCommand&) {
    in_handler.set_value();
    go_on.get_future().wait();
    return absl::OkStatus();
  };
  std::thread server([this] { (void)channel_.Serve(); });
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());
  in_handler.get_future().wait();

  EXPECT_THAT(channel_.Poll(), IsOk());

  go_on.set_value();
  channel_.Close(absl::CancelledError("the test ends"));
  server.join();
}

TEST_F(ChannelServeTest, ServeReturnsWhenThePeerCloses) {
  Echo();
  absl::Status status;
  std::thread server([&] { status = channel_.Serve(); });
  ASSERT_THAT(peer_.Send(kDmaRead, {{1}}), IsOk());
  EXPECT_THAT(NextReply(), ElementsAre(1));

  peer_.Close();

  server.join();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ChannelServeTest, CloseWakesEveryServer) {
  std::vector<std::future<absl::Status>> servers;
  for (int i = 0; i < 2; ++i) {
    servers.push_back(std::async(std::launch::async, [this] { return channel_.Serve(); }));
    servers.push_back(std::async(std::launch::async, [this] { return channel_.ServeWhenIdle(); }));
  }

  channel_.Close(absl::CancelledError("the user left"));

  for (auto& server : servers) EXPECT_EQ(server.get(), absl::CancelledError("the user left"));
  EXPECT_EQ(channel_.Serve(), absl::CancelledError("the user left"));
  EXPECT_EQ(channel_.ServeWhenIdle(), absl::CancelledError("the user left"));
}

TEST_F(ChannelServeTest, ServeReadsForWaitingCalls) {
  std::atomic<std::thread::id> reader;
  handler_ = [&](IncomingCommand& command) {
    reader = std::this_thread::get_id();
    return channel_.Reply(command.header);
  };
  std::thread server([this] { (void)channel_.Serve(); });
  // Once this is answered, Serve has the role.
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());
  EXPECT_THAT(NextReply(), IsEmpty());
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());
  ASSERT_THAT(peer_.Reply(request, {{1}}), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_EQ(reader, server.get_id());
  EXPECT_THAT(call.body(), ElementsAre(1));
  peer_.Close();
  server.join();
}

TEST_F(ChannelServeTest, ServeTakesOverWhenTheCallThatReadsIsDone) {
  std::promise<void> in_handler;
  std::promise<void> go_on;
  handler_ = [&](IncomingCommand& command) {
    if (command.body.empty()) {
      in_handler.set_value();
      go_on.get_future().wait();
    }
    return channel_.Reply(command.header, {command.body, {}, {}});
  };
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  std::thread caller([&] { EXPECT_THAT(channel_.Wait(call, Soon()), IsOk()); });
  ASSERT_THAT(peer_.Send(kDmaRead), IsOk());
  in_handler.get_future().wait();
  std::thread server([this] { (void)channel_.Serve(); });
  ASSERT_THAT(peer_.Reply(request), IsOk());

  go_on.set_value();

  EXPECT_THAT(NextReply(), IsEmpty());
  caller.join();
  ASSERT_THAT(peer_.Send(kDmaRead, {{1}}), IsOk());
  EXPECT_THAT(NextReply(), ElementsAre(1));
  peer_.Close();
  server.join();
}

TEST_F(ChannelServeTest, ServeWhenIdleServesWhileNobodyCalls) {
  Echo();
  std::thread server(
      [this] { EXPECT_THAT(channel_.ServeWhenIdle(), StatusIs(absl::StatusCode::kUnavailable)); });

  for (uint8_t i = 1; i < 100; ++i) {
    ASSERT_THAT(peer_.Send(kDmaRead, {{i}}), IsOk());
    ASSERT_THAT(NextReply(), ElementsAre(i));
  }

  peer_.Close();
  server.join();
}

TEST_F(ChannelServeTest, ServeWhenIdleCompletesCallsThatNobodyWaitsForYet) {
  Echo();
  std::thread server([this] { (void)channel_.ServeWhenIdle(); });
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  ASSERT_THAT(peer_.Reply(request, {{1}}), IsOk());
  ASSERT_THAT(peer_.Send(kDmaRead, {{2}}), IsOk());
  // Once the command after it is answered, the reply was read.
  ASSERT_THAT(NextReply(), ElementsAre(2));

  EXPECT_THAT(channel_.Wait(call, AtOnce()), IsOk());

  EXPECT_THAT(call.body(), ElementsAre(1));
  peer_.Close();
  server.join();
}

TEST_F(ChannelServeTest, ServeWhenIdleLeavesAWaitingCallToItself) {
  std::atomic<std::thread::id> reader;
  handler_ = [&](IncomingCommand& command) {
    reader = std::this_thread::get_id();
    return channel_.Reply(command.header);
  };
  std::thread server([this] { (void)channel_.ServeWhenIdle(); });
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  std::thread peer([&, this] {
    // Until the caller waits, the other serves.
    do {
      if (!peer_.Send(kDmaRead).ok() || !peer_.Receive().ok()) return;
    } while (reader == server.get_id());
    EXPECT_THAT(peer_.Reply(request), IsOk());
  });

  EXPECT_THAT(channel_.Wait(call, Soon()), IsOk());

  peer.join();
  EXPECT_EQ(reader, std::this_thread::get_id());
  peer_.Close();
  server.join();
}

}  // namespace
}  // namespace vfio_user
