// What breaks a channel, and what does not.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
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

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ChannelErrorsTest : public ChannelFixture {
 protected:
  // A call and its reply: the channel works.
  void ExpectAlive() {
    PendingCall call;
    const MessageHeader request = StartAndSee(call);
    EXPECT_THAT(peer_.Reply(request, {{42}}), IsOk());
    EXPECT_THAT(channel_.Wait(call, Soon()), IsOk());
    EXPECT_THAT(call.body(), ElementsAre(42));
  }
};

TEST_F(ChannelErrorsTest, AReplyLongerThanAskedForBreaks) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const int before = OpenFdCount();
  std::vector<std::byte> room(7);
  const std::vector<std::span<std::byte>> pieces = {room};
  PendingCall call(4, pieces);
  ASSERT_THAT(peer_.Reply(StartAndSee(call), std::vector<uint8_t>(12, 1), fds), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("reply of 28 bytes, 1 more")));

  EXPECT_THAT(call.body(), IsEmpty());
  EXPECT_EQ(call.scattered_bytes(), 0u);
  EXPECT_EQ(OpenFdCount(), before);
  EXPECT_THAT(channel_.status(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ChannelErrorsTest, HalfAReplyBreaksAndLeavesNothingBehind) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  PendingCall call;
  MessageHeader reply = StartAndSee(call).Reply();
  reply.msg_size = 20;
  const auto header = reply.Serialize();
  const int before = OpenFdCount();
  ASSERT_THAT(peer_.SendBytes(header, fds), IsOk());
  ASSERT_THAT(peer_.SendBytes({{1, 2}}), IsOk());
  peer_.Close();

  EXPECT_THAT(channel_.Wait(call, Soon()), StatusIs(absl::StatusCode::kDataLoss));

  EXPECT_THAT(call.body(), IsEmpty());
  EXPECT_EQ(OpenFdCount(), before - 1);
}

TEST_F(ChannelErrorsTest, AReplyToAnotherCommandBreaks) {
  PendingCall call;
  MessageHeader request = StartAndSee(call, Command::kRegionRead);
  request.command = Command::kRegionWrite;
  ASSERT_THAT(peer_.Reply(request), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("REGION_WRITE"), HasSubstr("want REGION_READ"))));
}

TEST_F(ChannelErrorsTest, AReplyThatNobodyWaitsForBreaks) {
  PendingCall call;
  MessageHeader request = StartAndSee(call);
  request.msg_id = static_cast<uint16_t>(request.msg_id + 1);
  ASSERT_THAT(peer_.Reply(request), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("which no request has")));
}

TEST_F(ChannelErrorsTest, ASecondReplyBreaks) {
  PendingCall first;
  PendingCall second;
  const MessageHeader request = StartAndSee(first);
  StartAndSee(second);
  ASSERT_THAT(peer_.Reply(request), IsOk());
  ASSERT_THAT(peer_.Reply(request), IsOk());

  EXPECT_THAT(channel_.Wait(second, Soon()), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(channel_.Wait(first, Soon()), IsOk());
}

TEST_F(ChannelErrorsTest, ToleratesAnErrorReplyThatNobodyWaitsFor) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const int before = OpenFdCount();
  MessageHeader unsolicited{.msg_id = 999, .command = Command::kRegionWrite};
  ASSERT_THAT(peer_.Send(unsolicited.Reply(EINVAL), std::vector<uint8_t>(5000), fds), IsOk());

  ExpectAlive();
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ChannelErrorsTest, AMessageThatIsNeitherCommandNorReplyBreaks) {
  PendingCall call;
  StartAndSee(call);
  ASSERT_THAT(peer_.Send({.msg_id = 77, .command = Command::kDmaRead, .type = 2}), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("message type is 2")));

  const auto answer = peer_.Receive();
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->header.msg_id, 77);
  EXPECT_EQ(answer->header.error, static_cast<uint32_t>(EINVAL));
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(ChannelErrorsTest, ACommandOfAnImpossibleSizeIsAnsweredAndBreaks) {
  PendingCall call;
  StartAndSee(call);
  ASSERT_THAT(peer_.SendBytes({{77, 0, 11, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("DMA_READ: msg_size is 15")));

  const auto answer = peer_.Receive();
  ASSERT_THAT(answer, IsOk());
  EXPECT_TRUE(answer->header.is_reply());
  EXPECT_EQ(answer->header.msg_id, 77);
  EXPECT_EQ(answer->header.error, static_cast<uint32_t>(EINVAL));
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(ChannelErrorsTest, AReplyOfAnImpossibleSizeBreaksWithoutAnAnswer) {
  PendingCall call;
  StartAndSee(call);
  ASSERT_THAT(peer_.SendBytes({{0, 0, 9, 0, 15, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}}), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()), StatusIs(absl::StatusCode::kDataLoss));

  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(ChannelErrorsTest, ACommandThatWantsNoReplyGetsNone) {
  PendingCall call;
  StartAndSee(call);
  ASSERT_THAT(peer_.SendBytes({{77, 0, 11, 0, 15, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0}}), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()), StatusIs(absl::StatusCode::kDataLoss));

  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(ChannelErrorsTest, TheReasonStaysWhenTheAnswerCannotBeSent) {
  PendingCall call;
  StartAndSee(call);
  ASSERT_THAT(peer_.SendBytes({{77, 0, 11, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}), IsOk());
  peer_.Close();

  EXPECT_THAT(channel_.Wait(call, Soon()), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(channel_.status(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ChannelErrorsTest, RefusesMoreRequestsThanThereAreIds) {
  std::deque<PendingCall> calls;
  std::thread reader([this] {
    while (true) {
      const auto chunk = peer_.ReceiveChunk(1 << 16);
      if (!chunk.ok() || chunk->bytes.empty()) return;
    }
  });
  const absl::Cleanup stop = [&] {
    channel_.Close(absl::CancelledError("the test ends"));
    reader.join();
  };
  for (int i = 0; i < 65'536; ++i) {
    ASSERT_THAT(channel_.Start(Command::kDeviceReset, {}, calls.emplace_back(), Deadline::Never()),
                IsOk());
  }

  EXPECT_THAT(channel_.Start(Command::kDeviceReset, {}, calls.emplace_back(), Deadline::Never()),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(ChannelErrorsTest, APeerThatOwesTooManyRepliesIsGivenUp) {
  for (int i = 0; i < 8192; ++i) {
    PendingCall call;
    StartAndSee(call);
    ASSERT_THAT(channel_.Wait(call, AtOnce()), StatusIs(absl::StatusCode::kDeadlineExceeded));
    ASSERT_THAT(channel_.status(), IsOk());
  }

  PendingCall last;
  StartAndSee(last);
  EXPECT_THAT(channel_.Wait(last, AtOnce()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(channel_.status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("8193 requests unanswered")));
}

TEST_F(ChannelErrorsTest, TheFirstErrorIsEveryonesError) {
  PendingCall first;
  PendingCall second;
  StartAndSee(first);
  StartAndSee(second);
  peer_.Close();

  const absl::Status broken = channel_.Wait(first, Soon());

  EXPECT_THAT(broken, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(channel_.status(), broken);
  EXPECT_EQ(channel_.Wait(second, Soon()), broken);
  PendingCall later;
  EXPECT_EQ(channel_.Start(Command::kRegionRead, {}, later, Deadline::Never()), broken);
  EXPECT_EQ(channel_.Reply({.command = Command::kDmaRead}), broken);
  channel_.Close(absl::CancelledError("too late"));
  EXPECT_EQ(channel_.status(), broken);
}

TEST_F(ChannelErrorsTest, AMissedDeadlineThatClosedItIsWhatLaterRequestsGet) {
  channel_.Close(absl::DeadlineExceededError("DMA_MAP: no reply in time"));

  PendingCall call;
  EXPECT_THAT(channel_.Start(Command::kDeviceReset, {}, call, Soon()),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("DMA_MAP")));
}

TEST_F(ChannelErrorsTest, AnErrorInSendingBreaks) {
  PendingCall pending;
  StartAndSee(pending);
  peer_.Close();
  absl::Status broken;
  {
    // It is gone once Start has failed: nothing may still point to it.
    PendingCall call;
    broken = channel_.Start(Command::kRegionRead, {}, call, Deadline::Never());
  }

  EXPECT_THAT(broken, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(channel_.Wait(pending, Soon()), broken);
}

TEST_F(ChannelErrorsTest, ARequestThatFindsNoRoomInTimeBreaksNothing) {
  std::deque<PendingCall> calls;
  absl::Status status;
  while (status.ok()) {
    status = channel_.Start(Command::kDeviceReset, {}, calls.emplace_back(),
                            Deadline::In(absl::Milliseconds(1)));
  }
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("not sent")));
  EXPECT_THAT(channel_.status(), IsOk());

  // What was started before lives on.
  const auto request = peer_.Receive();
  ASSERT_THAT(request, IsOk());
  ASSERT_THAT(peer_.Reply(request->header), IsOk());
  EXPECT_THAT(channel_.Wait(calls.front(), Soon()), IsOk());
  channel_.Close(absl::CancelledError("the test ends"));
}

TEST_F(ChannelErrorsTest, ARequestThatCannotBeSentBreaksNothing) {
  const std::vector<FdView> closed = {FdView(-1)};
  auto refused = std::make_unique<PendingCall>();

  EXPECT_THAT(channel_.Start(Command::kDmaMap, {.body = {}, .payload = {}, .fds = closed}, *refused,
                             Deadline::Never()),
              StatusIs(absl::StatusCode::kInvalidArgument));

  refused.reset();
  EXPECT_THAT(channel_.status(), IsOk());
  ExpectAlive();
}

TEST_F(ChannelErrorsTest, CloseEndsEveryCallWithItsReason) {
  PendingCall call;
  StartAndSee(call);

  channel_.Close(absl::CancelledError("the user left"));

  EXPECT_EQ(channel_.Wait(call, Soon()), absl::CancelledError("the user left"));
  EXPECT_EQ(channel_.status(), absl::CancelledError("the user left"));
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(ChannelErrorsTest, CloseAfterRepliesGivesTheReplyThatHasArrived) {
  PendingCall answered;
  PendingCall forgotten;
  const MessageHeader request = StartAndSee(answered);
  StartAndSee(forgotten);
  ASSERT_THAT(peer_.Reply(request), IsOk());

  channel_.CloseAfterReplies(absl::UnavailableError("the peer left"));

  EXPECT_THAT(channel_.Wait(answered, Soon()), IsOk());
  EXPECT_THAT(channel_.Wait(forgotten, Soon()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(ChannelErrorsTest, CloseAfterRepliesClosesAtOnceWhenNoneIsWaitedFor) {
  channel_.CloseAfterReplies(absl::UnavailableError("the peer left"));

  EXPECT_EQ(channel_.status(), absl::UnavailableError("the peer left"));
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

}  // namespace
}  // namespace vfio_user
