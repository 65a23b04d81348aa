// Requests that go out together: Channel::StartMany.
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <future>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/channel_fixture.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;

class ChannelStartManyTest : public ChannelFixture {
 protected:
  ChannelStartManyTest() : ChannelFixture({.stall_timeout = absl::Milliseconds(20)}) {}

  // Requests with `body` each.
  std::vector<Channel::Request> Requests(size_t count, std::span<const uint8_t> body = {}) {
    std::vector<Channel::Request> requests;
    for (size_t i = 0; i < count; ++i) {
      requests.push_back({.command = Command::kDmaWrite,
                          .content = {.body = body, .payload = {}, .fds = {}},
                          .call = &calls_.emplace_back()});
    }
    return requests;
  }

  std::deque<PendingCall> calls_;
};

TEST_F(ChannelStartManyTest, SendsThemInOrderAndTakesTheRepliesInAny) {
  const std::array<uint8_t, 2> body = {1, 2};
  ASSERT_THAT(channel_.StartMany(Requests(3, body), Soon()), IsOk());

  std::vector<MessageHeader> seen;
  for (int i = 0; i < 3; ++i) {
    const auto request = peer_.Receive();
    ASSERT_THAT(request, IsOk());
    EXPECT_EQ(request->header.command, Command::kDmaWrite);
    EXPECT_THAT(request->body, ElementsAre(1, 2));
    seen.push_back(request->header);
  }
  for (const uint8_t i : std::to_array<uint8_t>({2, 0, 1})) {
    ASSERT_THAT(peer_.Reply(seen[i], {{i}}), IsOk());
  }

  for (uint8_t i = 0; i < 3; ++i) {
    ASSERT_THAT(channel_.Wait(calls_[i], Soon()), IsOk());
    EXPECT_THAT(calls_[i].body(), ElementsAre(i));
  }
}

// More parts than one sendmsg() takes.
TEST_F(ChannelStartManyTest, SendsAsManyAsItIsGiven) {
  constexpr size_t kCount = 1000;
  const std::array<uint8_t, 1> body = {1};
  const std::vector<Channel::Request> requests = Requests(kCount, body);
  auto answered = std::async(std::launch::async, [this] {
    for (size_t i = 0; i < kCount; ++i) {
      const auto request = peer_.Receive();
      if (!request.ok()) return request.status();
      const absl::Status replied = peer_.Reply(request->header);
      if (!replied.ok()) return replied;
    }
    return absl::OkStatus();
  });

  ASSERT_THAT(channel_.StartMany(requests, Soon()), IsOk());
  for (PendingCall& call : calls_) ASSERT_THAT(channel_.Wait(call, Soon()), IsOk());

  EXPECT_THAT(answered.get(), IsOk());
}

TEST_F(ChannelStartManyTest, NoneIsPendingWhereThereWasNoRoomForTheFirst) {
  const std::vector<uint8_t> filling(1000);
  absl::Status sent;
  while (sent.ok())
    sent =
        channel_.Post(Command::kRegionWrite, {.body = filling, .payload = {}, .fds = {}}, AtOnce());
  ASSERT_THAT(sent, StatusIs(absl::StatusCode::kResourceExhausted));

  EXPECT_THAT(channel_.StartMany(Requests(3), AtOnce()),
              StatusIs(absl::StatusCode::kResourceExhausted));

  // CloseAfterReplies breaks the channel at once if no reply is awaited.
  EXPECT_THAT(channel_.status(), IsOk());
  channel_.CloseAfterReplies(absl::CancelledError("the test ends"));
  EXPECT_THAT(channel_.status(), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ChannelStartManyTest, BreaksTheChannelWhereThePeerStopsReadingAmongThem) {
  const std::vector<uint8_t> body(1 << 20);

  EXPECT_THAT(channel_.StartMany(Requests(3, body), Soon()),
              StatusIs(absl::StatusCode::kUnavailable));

  EXPECT_THAT(channel_.status(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ChannelStartManyTest, NoneIsPendingOnABrokenChannel) {
  channel_.Close(absl::CancelledError("the test's"));

  EXPECT_THAT(channel_.StartMany(Requests(3), Soon()), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace vfio_user
