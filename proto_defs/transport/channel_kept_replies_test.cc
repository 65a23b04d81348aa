// Replies that go out together: Channel::ReplySoon.
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>
#include <future>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/channel_fixture.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;

// The id of a command that the handler does not get over.
constexpr uint16_t kBreaks = 99;

// All commands are sent before Serve begins, and the last ends it, so that nothing depends on who
// is quicker. Both kinds of stream: with read-ahead a message is there without a system call.
class ChannelKeptRepliesTest : public ChannelFixture, public testing::WithParamInterface<bool> {
 protected:
  ChannelKeptRepliesTest() : ChannelFixture({.read_ahead = GetParam()}) {
    handler_ = [this](IncomingCommand& command) {
      replies_seen_.push_back(RepliesThere());
      if (command.header.command == Command::kDeviceReset) {
        channel_.Close(absl::CancelledError("the test ends"));
        return absl::OkStatus();
      }
      if (command.header.command == Command::kDmaWrite) return channel_.Reply(command.header);
      if (command.header.msg_id == kBreaks) return absl::DataLossError("the test's");
      return channel_.ReplySoon(command.header, {.body = command.body, .payload = {}, .fds = {}});
    };
  }

  void Ask(Command command, uint16_t id, std::span<const uint8_t> body = {}) {
    ASSERT_THAT(peer_.Send({.msg_id = id, .command = command}, body), IsOk());
  }

  // With a descriptor, where a receive ends.
  void AskWithFd(Command command, uint16_t id) {
    const FdView fd = peer_.fd();
    ASSERT_THAT(peer_.Send({.msg_id = id, .command = command}, {}, {&fd, 1}), IsOk());
  }

  void ServeAll() {
    ASSERT_THAT(peer_.Send({.command = Command::kDeviceReset, .no_reply = true}), IsOk());
    EXPECT_THAT(channel_.Serve(), StatusIs(absl::StatusCode::kCancelled));
  }

  // How many replies without a body the peer could read now.
  size_t RepliesThere() const {
    int bytes = 0;
    EXPECT_EQ(::ioctl(peer_.fd().get(), FIONREAD, &bytes), 0);
    return static_cast<size_t>(bytes) / kHeaderBytes;
  }

  // When each command was handled.
  std::vector<size_t> replies_seen_;
};

TEST_P(ChannelKeptRepliesTest, AreSentOnceNoMoreOfTheirKindHasArrived) {
  Ask(Command::kDmaRead, 1);
  Ask(Command::kDmaRead, 2);
  Ask(Command::kDmaRead, 3);
  Ask(Command::kDmaWrite, 4);

  ServeAll();

  if (GetParam()) {
    EXPECT_THAT(replies_seen_, ElementsAre(0, 0, 0, 3, 4));
  } else {
    EXPECT_THAT(replies_seen_, ElementsAre(0, 1, 2, 3, 4));  // Nobody knew of more.
  }
}

TEST_P(ChannelKeptRepliesTest, AreKeptToWhatCameWithDescriptors) {
  AskWithFd(Command::kDmaMap, 1);
  AskWithFd(Command::kDmaMap, 2);
  AskWithFd(Command::kDmaWrite, 3);

  ServeAll();

  EXPECT_THAT(replies_seen_, ElementsAre(0, 0, 2, 3));
}

TEST_P(ChannelKeptRepliesTest, AreNotKeptByWhoPolls) {
  Ask(Command::kDmaRead, 1);
  Ask(Command::kDmaRead, 2);

  ASSERT_THAT(channel_.Poll(1), IsOk());
  EXPECT_EQ(RepliesThere(), 1);
}

TEST_P(ChannelKeptRepliesTest, AreNotKeptByWhoWaitsForAReply) {
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  Ask(Command::kDmaRead, 1);
  Ask(Command::kDmaRead, 2);
  ASSERT_THAT(peer_.Reply(request), IsOk());

  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_THAT(replies_seen_, ElementsAre(0, 1));
}

TEST_P(ChannelKeptRepliesTest, AreWholeAndInOrder) {
  const std::vector<uint8_t> none;
  const std::vector<uint8_t> first = {1, 2, 3};
  const std::vector<uint8_t> last = {4};
  Ask(Command::kDmaRead, 7, first);
  Ask(Command::kDmaRead, 8, none);
  Ask(Command::kDmaRead, 9, last);

  ServeAll();

  uint16_t id = 7;
  for (const std::vector<uint8_t>& body : {first, none, last}) {
    const auto reply = peer_.Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_TRUE(reply->header.is_reply());
    EXPECT_EQ(reply->header.command, Command::kDmaRead);
    EXPECT_EQ(reply->header.msg_id, id++);
    EXPECT_EQ(reply->body, body);
  }
}

TEST_P(ChannelKeptRepliesTest, AreNotKeptForEver) {
  for (uint16_t id = 0; id < 40; ++id) Ask(Command::kDmaRead, id);

  ServeAll();

  for (size_t i = 0; i < 40; ++i) EXPECT_GE(replies_seen_[i] + 16, i) << i;
  EXPECT_EQ(replies_seen_.back(), 40);
}

TEST_P(ChannelKeptRepliesTest, LongOnesGoAtOnce) {
  const std::vector<uint8_t> body(5000);
  Ask(Command::kDmaRead, 1, body);
  Ask(Command::kDmaRead, 2);

  ServeAll();

  EXPECT_THAT(replies_seen_, ElementsAre(0, (kHeaderBytes + body.size()) / kHeaderBytes,
                                         (2 * kHeaderBytes + body.size()) / kHeaderBytes));
}

TEST_P(ChannelKeptRepliesTest, LongOnesGoAfterThoseThatWereKept) {
  Ask(Command::kDmaRead, 1);
  Ask(Command::kDmaRead, 2, std::vector<uint8_t>(5000));

  ServeAll();

  for (uint16_t id = 1; id <= 2; ++id) {
    const auto reply = peer_.Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.msg_id, id);
  }
}

TEST_P(ChannelKeptRepliesTest, AreSentBeforeTheRestOfACommandIsAwaited) {
  Ask(Command::kDmaRead, 1);
  MessageHeader half = {.msg_id = 2, .command = Command::kDmaRead, .msg_size = 20};
  ASSERT_THAT(peer_.SendBytes(half.Serialize()), IsOk());
  auto served = std::async(std::launch::async, [this] { return channel_.Serve(); });

  EXPECT_THAT(peer_.Receive(), IsOk());

  peer_.Shutdown();
  EXPECT_THAT(served.get(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_P(ChannelKeptRepliesTest, AreSentBeforeACommandBreaksTheChannel) {
  AskWithFd(Command::kDmaMap, 1);
  AskWithFd(Command::kDmaMap, kBreaks);

  EXPECT_THAT(channel_.Serve(), StatusIs(absl::StatusCode::kDataLoss));

  EXPECT_EQ(RepliesThere(), 1);
}

TEST_P(ChannelKeptRepliesTest, NothingIsSaidToACommandThatWantsNoReply) {
  ASSERT_THAT(peer_.Send({.command = Command::kDmaRead, .no_reply = true}), IsOk());
  Ask(Command::kDmaWrite, 4);

  ServeAll();

  EXPECT_THAT(replies_seen_, ElementsAre(0, 0, 1));
}

TEST_P(ChannelKeptRepliesTest, AreSentBeforeTheThreadWaits) {
  Ask(Command::kDmaRead, 1);
  auto served = std::async(std::launch::async, [this] { return channel_.Serve(); });

  const auto reply = peer_.Receive();

  EXPECT_THAT(reply, IsOk());
  peer_.Shutdown();
  EXPECT_THAT(served.get(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_P(ChannelKeptRepliesTest, AreSentBeforeTheChannelBreaks) {
  Ask(Command::kDmaRead, 1);
  MessageHeader broken = {.command = Command::kDmaRead, .msg_size = 3};
  ASSERT_THAT(peer_.SendBytes(broken.Serialize()), IsOk());

  EXPECT_THAT(channel_.Serve(), StatusIs(absl::StatusCode::kDataLoss));

  const auto reply = peer_.Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.msg_id, 1);
}

INSTANTIATE_TEST_SUITE_P(, ChannelKeptRepliesTest, testing::Bool(), [](const auto& test) {
  return test.param ? "ReadingAhead" : "ReadingMessageByMessage";
});

}  // namespace
}  // namespace vfio_user
