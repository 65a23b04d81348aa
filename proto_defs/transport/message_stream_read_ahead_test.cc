// A message stream that may take more from the socket than was asked for.
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

Deadline AtOnce() { return Deadline::In(absl::ZeroDuration()); }

// REGION_READ with id 0x0102 and 3 bytes after the header.
const std::vector<uint8_t> kMessage = {2, 1, 9, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9};

class MessageStreamReadingAheadTest : public testing::Test {
 protected:
  MessageStreamReadingAheadTest() : MessageStreamReadingAheadTest(ScriptedPeer::Pair()) {}
  explicit MessageStreamReadingAheadTest(absl::StatusOr<ScriptedPeer::Connected> pair)
      : peer_(std::move(pair->peer)),
        stream_(*Socket::Adopt(std::move(pair->socket)),
                {.stall_timeout = absl::Milliseconds(20), .read_ahead = true}) {}

  ScriptedPeer peer_;
  MessageStream stream_;
};

TEST_F(MessageStreamReadingAheadTest, TakesAllThatIsThereAtOnce) {
  ASSERT_THAT(peer_.SendBytes(kMessage), IsOk());
  ASSERT_THAT(peer_.SendBytes(kMessage), IsOk());
  ASSERT_THAT(stream_.ReceiveHeader(AtOnce()), IsOk());
  EXPECT_THAT(stream_.socket().WaitReadable(AtOnce()),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  std::vector<uint8_t> body(3);
  ASSERT_THAT(stream_.ReceiveBody(body), IsOk());
  EXPECT_THAT(body, ElementsAre(7, 8, 9));

  const auto next = stream_.ReceiveHeader(AtOnce());

  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->header.msg_id, 0x0102);
  EXPECT_EQ(next->body_bytes, 3u);
}

TEST_F(MessageStreamReadingAheadTest, GivesDescriptorsToTheMessageTheyCameWith) {
  for (const size_t with_fd : {0u, 1u, 2u}) {
    const UniqueFd file = Memfd("abc");
    const std::vector<FdView> fds = {file};
    for (const size_t i : {0u, 1u, 2u}) {
      ASSERT_THAT(peer_.SendBytes(kMessage, i == with_fd ? fds : std::vector<FdView>()), IsOk());
    }

    for (const size_t i : {0u, 1u, 2u}) {
      const auto incoming = stream_.ReceiveHeader(AtOnce());
      ASSERT_THAT(incoming, IsOk());
      EXPECT_THAT(incoming->fds, SizeIs(i == with_fd ? 1 : 0)) << i << " of " << with_fd;
      ASSERT_THAT(stream_.DiscardBody(incoming->body_bytes), IsOk());
    }
  }
}

TEST_F(MessageStreamReadingAheadTest, ReceivesALongBodyWhoseBeginningCameWithTheHeader) {
  std::vector<uint8_t> sent(9000);
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<uint8_t>(i * 7);
  ASSERT_THAT(peer_.Send({.command = Command::kRegionRead}, sent), IsOk());
  ASSERT_THAT(peer_.SendBytes(kMessage), IsOk());
  ASSERT_THAT(stream_.ReceiveHeader(AtOnce()), IsOk());
  std::vector<uint8_t> body(9000);
  std::vector<iovec> parts = {{.iov_base = body.data(), .iov_len = 100},
                              {.iov_base = nullptr, .iov_len = 0},
                              {.iov_base = body.data() + 100, .iov_len = 8900}};

  ASSERT_THAT(stream_.ReceiveBody(parts), IsOk());

  EXPECT_EQ(body, sent);
  const auto next = stream_.ReceiveHeader(AtOnce());
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->header.msg_id, 0x0102);
}

TEST_F(MessageStreamReadingAheadTest, JoinsAMessageThatWasSplitAnywhere) {
  for (size_t at = 1; at < kMessage.size(); ++at) {
    ASSERT_THAT(peer_.SendBytes(kMessage), IsOk());
    ASSERT_THAT(peer_.SendBytes(std::span(kMessage).first(at)), IsOk());
    for (const bool first : {true, false}) {
      const auto incoming = stream_.ReceiveHeader(AtOnce());
      ASSERT_THAT(incoming, IsOk()) << at;
      EXPECT_EQ(incoming->header.msg_size, 19u) << at;
      if (first) {
        ASSERT_THAT(peer_.SendBytes(std::span(kMessage).subspan(at)), IsOk());
      }
      std::vector<uint8_t> body(3);
      ASSERT_THAT(stream_.ReceiveBody(body), IsOk()) << at;
      EXPECT_THAT(body, ElementsAre(7, 8, 9)) << at;
    }
  }
}

TEST_F(MessageStreamReadingAheadTest, HalfAMessageThatWasReadAheadIsDataLossWhenThePeerStops) {
  ASSERT_THAT(peer_.SendBytes(kMessage), IsOk());
  ASSERT_THAT(peer_.SendBytes(std::span(kMessage).first(5)), IsOk());
  ASSERT_THAT(stream_.ReceiveHeader(AtOnce()), IsOk());
  ASSERT_THAT(stream_.DiscardBody(3), IsOk());

  EXPECT_THAT(stream_.ReceiveHeader(AtOnce()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("stopped")));
}

}  // namespace
}  // namespace vfio_user
