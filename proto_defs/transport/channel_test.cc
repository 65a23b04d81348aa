// Calls of one thread, and their replies. channel_errors_test.cc has what breaks a channel,
// channel_serve_test.cc the peer's commands, channel_threads_test.cc the threads.
#include "proto_defs/transport/channel.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
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
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ChannelTest : public ChannelFixture {
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

TEST_F(ChannelTest, SendsACommandAndReturnsItsReply) {
  const std::vector<uint8_t> body = {1, 2, 3};
  PendingCall call;
  ASSERT_THAT(channel_.Start(Command::kRegionRead, {.body = body, .payload = {}, .fds = {}}, call,
                             Deadline::Never()),
              IsOk());
  const auto request = peer_.Receive();
  ASSERT_THAT(request, IsOk());
  EXPECT_TRUE(request->header.is_command());
  EXPECT_FALSE(request->header.no_reply);
  EXPECT_EQ(request->header.command, Command::kRegionRead);
  EXPECT_THAT(request->body, ElementsAre(1, 2, 3));
  ASSERT_THAT(peer_.Reply(request->header, {{4, 5}}), IsOk());

  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_THAT(call.body(), ElementsAre(4, 5));
  EXPECT_EQ(call.scattered_bytes(), 0u);
  EXPECT_THAT(call.TakeFds(), IsEmpty());
}

TEST_F(ChannelTest, SendsPayloadAndDescriptors) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const std::vector<std::byte> piece = {std::byte{2}};
  const std::vector<std::span<const std::byte>> payload = {piece, piece};
  PendingCall call;

  ASSERT_THAT(channel_.Start(Command::kDmaMap, {.body = {{1}}, .payload = payload, .fds = fds},
                             call, Deadline::Never()),
              IsOk());

  const auto request = peer_.Receive();
  ASSERT_THAT(request, IsOk());
  EXPECT_THAT(request->body, ElementsAre(1, 2, 2));
  ASSERT_THAT(request->fds, SizeIs(1));
  EXPECT_TRUE(IsSameFile(request->fds[0], file));
  channel_.Close(absl::CancelledError("the test ends"));
}

TEST_F(ChannelTest, MatchesRepliesThatCross) {
  PendingCall first;
  PendingCall second;
  const MessageHeader first_request = StartAndSee(first);
  const MessageHeader second_request = StartAndSee(second);
  ASSERT_NE(first_request.msg_id, second_request.msg_id);
  ASSERT_THAT(peer_.Reply(second_request, {{2}}), IsOk());
  ASSERT_THAT(peer_.Reply(first_request, {{1}}), IsOk());

  ASSERT_THAT(channel_.Wait(first, Soon()), IsOk());
  ASSERT_THAT(channel_.Wait(second, AtOnce()), IsOk());

  EXPECT_THAT(first.body(), ElementsAre(1));
  EXPECT_THAT(second.body(), ElementsAre(2));
}

TEST_F(ChannelTest, TellsACommandFromTheReplyOfTheSameId) {
  uint16_t handled = 0xffff;
  handler_ = [&](IncomingCommand& command) {
    handled = command.header.msg_id;
    return absl::OkStatus();
  };
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  ASSERT_THAT(peer_.Send({.msg_id = request.msg_id, .command = request.command}, {{7}}), IsOk());
  ASSERT_THAT(peer_.Reply(request, {{8}}), IsOk());

  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_EQ(handled, request.msg_id);
  EXPECT_THAT(call.body(), ElementsAre(8));
}

TEST_F(ChannelTest, GivesTheDescriptorsOfAReplyAway) {
  const int before = OpenFdCount();
  {
    const UniqueFd file = Memfd("abc");
    const std::vector<FdView> fds = {file, file};
    PendingCall call(ReplyFds::kKept);
    ASSERT_THAT(peer_.Reply(StartAndSee(call), {}, fds), IsOk());

    ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

    const std::vector<UniqueFd> received = call.TakeFds();
    ASSERT_THAT(received, SizeIs(2));
    EXPECT_TRUE(IsSameFile(received[1], file));
    EXPECT_THAT(call.TakeFds(), IsEmpty());
  }
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ChannelTest, ClosesDescriptorsThatWereNotAskedFor) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file, file};
  const int before = OpenFdCount();
  PendingCall call;
  ASSERT_THAT(peer_.Reply(StartAndSee(call), {}, fds), IsOk());

  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ChannelTest, KeepsTheErrnoOfAnErrorReply) {
  PendingCall call;
  ASSERT_THAT(peer_.ReplyError(StartAndSee(call, Command::kDmaMap), EEXIST), IsOk());

  const absl::Status status = channel_.Wait(call, Soon());

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("DMA_MAP refused")));
  EXPECT_EQ(ErrnoOf(status), EEXIST);
  EXPECT_THAT(channel_.status(), IsOk());
  ExpectAlive();
}

TEST_F(ChannelTest, AnErrorReplyWithoutAnErrnoIsAnError) {
  PendingCall call;
  ASSERT_THAT(peer_.ReplyError(StartAndSee(call), 0), IsOk());

  EXPECT_EQ(ErrnoOf(channel_.Wait(call, Soon())), EIO);
}

TEST_F(ChannelTest, DropsBodyAndDescriptorsOfAnErrorReply) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const int before = OpenFdCount();
  PendingCall call;
  const MessageHeader request = StartAndSee(call);
  ASSERT_THAT(peer_.Send(request.Reply(EINVAL), std::vector<uint8_t>(5000), fds), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()), StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_THAT(call.body(), IsEmpty());
  EXPECT_THAT(call.TakeFds(), IsEmpty());
  EXPECT_EQ(OpenFdCount(), before);
  ExpectAlive();
}

// Room for 2 bytes, none, 3 and 2 in a row, after 4 fixed ones.
struct ScatterBuffers {
  std::vector<std::byte> first = std::vector<std::byte>(2);
  std::vector<std::byte> second = std::vector<std::byte>(3);
  std::vector<std::byte> third = std::vector<std::byte>(2);
  std::vector<std::span<std::byte>> pieces = {first, {}, second, third};
};

TEST_F(ChannelTest, ScattersAReply) {
  ScatterBuffers into;
  PendingCall call(4, into.pieces);
  ASSERT_THAT(peer_.Reply(StartAndSee(call), {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}), IsOk());

  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_THAT(call.body(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(call.scattered_bytes(), 7u);
  EXPECT_THAT(into.first, ElementsAre(std::byte{5}, std::byte{6}));
  EXPECT_THAT(into.second, ElementsAre(std::byte{7}, std::byte{8}, std::byte{9}));
  EXPECT_THAT(into.third, ElementsAre(std::byte{10}, std::byte{11}));
}

TEST_F(ChannelTest, ScattersAShorterReplyAsFarAsItGoes) {
  ScatterBuffers into;
  PendingCall call(4, into.pieces);
  ASSERT_THAT(peer_.Reply(StartAndSee(call), {{1, 2, 3, 4, 5, 6, 7}}), IsOk());

  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_EQ(call.scattered_bytes(), 3u);
  EXPECT_THAT(into.second, ElementsAre(std::byte{7}, std::byte{0}, std::byte{0}));
}

TEST_F(ChannelTest, TakesAReplyThatEndsInItsFixedPart) {
  ScatterBuffers into;
  PendingCall call(4, into.pieces);
  ASSERT_THAT(peer_.Reply(StartAndSee(call), {{1, 2}}), IsOk());

  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_THAT(call.body(), ElementsAre(1, 2));
  EXPECT_EQ(call.scattered_bytes(), 0u);
}

TEST_F(ChannelTest, ScattersWithoutAFixedPart) {
  std::vector<std::byte> bytes(3);
  const std::vector<std::span<std::byte>> pieces = {bytes};
  PendingCall call(0, pieces);
  ASSERT_THAT(peer_.Reply(StartAndSee(call), {{1, 2, 3}}), IsOk());

  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_THAT(bytes, ElementsAre(std::byte{1}, std::byte{2}, std::byte{3}));
}

TEST_F(ChannelTest, DropsALateReplyAndLivesOn) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const int before = OpenFdCount();
  MessageHeader request;
  {
    PendingCall late;
    request = StartAndSee(late);
    EXPECT_THAT(channel_.Wait(late, AtOnce()),
                StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("REGION_READ")));
  }
  ASSERT_THAT(peer_.Reply(request, std::vector<uint8_t>(5000), fds), IsOk());

  ExpectAlive();
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ChannelTest, DropsALateReplyOnce) {
  PendingCall late;
  const MessageHeader request = StartAndSee(late);
  EXPECT_THAT(channel_.Wait(late, AtOnce()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  PendingCall call;
  StartAndSee(call);
  ASSERT_THAT(peer_.Reply(request), IsOk());
  ASSERT_THAT(peer_.Reply(request), IsOk());

  EXPECT_THAT(channel_.Wait(call, Soon()), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ChannelTest, AnIdIsNotUsedAgainWhileItsReplyIsOverdue) {
  PendingCall late;
  const MessageHeader request = StartAndSee(late);
  EXPECT_THAT(channel_.Wait(late, AtOnce()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  // Each takes an id and sends nothing.
  const std::vector<FdView> too_many(254, FdView(0));
  for (int i = 0; i < 65'535; ++i) {
    PendingCall refused;
    ASSERT_THAT(channel_.Start(Command::kDmaMap, {.body = {}, .payload = {}, .fds = too_many},
                               refused, Deadline::Never()),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }

  PendingCall call;
  const MessageHeader next = StartAndSee(call);
  EXPECT_EQ(next.msg_id, static_cast<uint16_t>(request.msg_id + 1));

  ASSERT_THAT(peer_.Reply(request, {{1}}), IsOk());
  ASSERT_THAT(peer_.Reply(next, {{2}}), IsOk());
  ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());
  EXPECT_THAT(call.body(), ElementsAre(2));
}

TEST_F(ChannelTest, CancelEndsACallAndDropsItsReply) {
  const int before = OpenFdCount();
  MessageHeader request;
  {
    PendingCall call;
    request = StartAndSee(call);
    channel_.Cancel(call, absl::CancelledError("reset"));
    EXPECT_EQ(channel_.Wait(call, Soon()), absl::CancelledError("reset"));
  }
  ASSERT_THAT(peer_.Reply(request, {{1, 2, 3}}), IsOk());

  ExpectAlive();
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ChannelTest, CancelComesTooLateForAReplyThatIsThere) {
  PendingCall first;
  PendingCall second;
  ASSERT_THAT(peer_.Reply(StartAndSee(first), {{1}}), IsOk());
  ASSERT_THAT(peer_.Reply(StartAndSee(second), {{2}}), IsOk());
  ASSERT_THAT(channel_.Wait(second, Soon()), IsOk());

  channel_.Cancel(first, absl::CancelledError("reset"));

  ASSERT_THAT(channel_.Wait(first, Soon()), IsOk());
  EXPECT_THAT(first.body(), ElementsAre(1));
}

TEST_F(ChannelTest, CallIsStartAndWait) {
  std::thread server([this] {
    const auto request = peer_.Receive();
    if (request.ok()) (void)peer_.Reply(request->header, request->body);
  });
  PendingCall call;

  EXPECT_THAT(channel_.Call(Command::kRegionRead, {.body = {{1, 2}}, .payload = {}, .fds = {}},
                            call, Soon()),
              IsOk());

  server.join();
  EXPECT_THAT(call.body(), ElementsAre(1, 2));
}

}  // namespace
}  // namespace vfio_user
