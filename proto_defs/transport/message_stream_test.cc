#include "proto_defs/transport/message_stream.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::SizeIs;

Deadline Soon() { return Deadline::In(absl::Seconds(20)); }
Deadline AtOnce() { return Deadline::In(absl::ZeroDuration()); }

// REGION_READ with id 0x0102 and 3 bytes after the header.
const std::vector<uint8_t> kMessage = {2, 1, 9, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9};

// A stream that bears with 20 ms of silence within a message, and a peer at its other end.
class MessageStreamTest : public testing::Test {
 protected:
  static constexpr uint32_t kMaxMessageBytes = 10'000;

  MessageStreamTest() : MessageStreamTest(ScriptedPeer::Pair()) {}
  explicit MessageStreamTest(absl::StatusOr<ScriptedPeer::Connected> pair)
      : peer_(std::move(pair->peer)),
        stream_(*Socket::Adopt(std::move(pair->socket)),
                {.max_message_bytes = kMaxMessageBytes, .stall_timeout = absl::Milliseconds(20)}) {}

  // Sends a header that says `msg_size`, and nothing more.
  absl::Status SendSize(uint32_t msg_size) {
    std::vector<uint8_t> header(kMessage.begin(), kMessage.begin() + 16);
    for (size_t i = 0; i < 4; ++i) header[4 + i] = static_cast<uint8_t>(msg_size >> (8 * i));
    return peer_.SendBytes(header);
  }

  ScriptedPeer peer_;
  MessageStream stream_;
};

TEST_F(MessageStreamTest, SendsTheBytesOfAMessage) {
  const std::vector<uint8_t> body = {7, 8, 9};

  ASSERT_THAT(stream_.Send({.header = {.msg_id = 0x0102, .command = Command::kRegionRead},
                            .body = body,
                            .payload = {},
                            .fds = {}}),
              IsOk());

  const auto chunk = peer_.ReceiveChunk(100);
  ASSERT_THAT(chunk, IsOk());
  EXPECT_THAT(chunk->bytes, ElementsAreArray(kMessage));
}

TEST_F(MessageStreamTest, SendsAHeaderAlone) {
  ASSERT_THAT(stream_.Send({.header = {.msg_id = 5, .command = Command::kDeviceReset},
                            .body = {},
                            .payload = {},
                            .fds = {}}),
              IsOk());

  const auto chunk = peer_.ReceiveChunk(100);
  ASSERT_THAT(chunk, IsOk());
  EXPECT_THAT(chunk->bytes, ElementsAre(5, 0, 13, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(MessageStreamTest, CountsItsBytesWhateverTheHeaderSaid) {
  ASSERT_THAT(stream_.Send({.header = {.command = Command::kDeviceReset, .msg_size = 999},
                            .body = {},
                            .payload = {},
                            .fds = {}}),
              IsOk());

  const auto message = peer_.Receive();
  ASSERT_THAT(message, IsOk());
  EXPECT_EQ(message->header.msg_size, 16u);
}

TEST_F(MessageStreamTest, GathersAPayloadAfterTheBody) {
  const std::vector<uint8_t> body = {1, 2};
  const std::vector<std::byte> first = {std::byte{3}, std::byte{4}};
  const std::vector<std::byte> last = {std::byte{5}};
  const std::vector<std::span<const std::byte>> payload = {first, {}, last};

  ASSERT_THAT(
      stream_.Send(
          {.header = {.command = Command::kDmaWrite}, .body = body, .payload = payload, .fds = {}}),
      IsOk());

  const auto message = peer_.Receive();
  ASSERT_THAT(message, IsOk());
  EXPECT_EQ(message->header.msg_size, 21u);
  EXPECT_THAT(message->body, ElementsAre(1, 2, 3, 4, 5));
}

// The kernel ends what one recvmsg() returns where the bytes end that one sendmsg() sent with
// descriptors: that shows how many there were.
TEST_F(MessageStreamTest, SendsHeaderBodyPayloadAndDescriptorsAtOnce) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const std::vector<uint8_t> body = {1, 2};
  const std::vector<std::byte> piece = {std::byte{3}};
  const std::vector<std::span<const std::byte>> payload = {piece, piece};

  ASSERT_THAT(
      stream_.Send(
          {.header = {.command = Command::kDmaMap}, .body = body, .payload = payload, .fds = fds}),
      IsOk());

  const auto chunk = peer_.ReceiveChunk(100);
  ASSERT_THAT(chunk, IsOk());
  EXPECT_THAT(chunk->bytes, SizeIs(20));
  ASSERT_THAT(chunk->fds, SizeIs(1));
  EXPECT_TRUE(IsSameFile(chunk->fds[0], file));
}

TEST_F(MessageStreamTest, RefusesAMessageTooLongForItsHeaderAndSendsNothing) {
  const std::vector<std::byte> piece(1 << 20);
  const std::vector<std::span<const std::byte>> payload(4096, piece);

  EXPECT_THAT(
      stream_.Send(
          {.header = {.command = Command::kDmaWrite}, .body = {}, .payload = payload, .fds = {}}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("4294967312 bytes")));

  stream_.Shutdown();
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(MessageStreamTest, SendGivesUpOnAPeerThatStopsReading) {
  const std::vector<uint8_t> body(8 << 20);

  EXPECT_THAT(
      stream_.Send(
          {.header = {.command = Command::kDmaWrite}, .body = body, .payload = {}, .fds = {}}),
      StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(MessageStreamTest, ReceivesAMessage) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  ASSERT_THAT(peer_.SendBytes(kMessage, fds), IsOk());

  const auto incoming = stream_.ReceiveHeader(AtOnce());

  ASSERT_THAT(incoming, IsOk());
  EXPECT_EQ(incoming->header.msg_id, 0x0102);
  EXPECT_EQ(incoming->header.command, Command::kRegionRead);
  EXPECT_EQ(incoming->header.msg_size, 19u);
  EXPECT_EQ(incoming->body_bytes, 3u);
  ASSERT_THAT(incoming->fds, SizeIs(1));
  EXPECT_TRUE(IsSameFile(incoming->fds[0], file));
  std::vector<uint8_t> body(3);
  ASSERT_THAT(stream_.ReceiveBody(body), IsOk());
  EXPECT_THAT(body, ElementsAre(7, 8, 9));
}

TEST_F(MessageStreamTest, ReceivesABodyInPieces) {
  ASSERT_THAT(peer_.SendBytes(kMessage), IsOk());
  ASSERT_THAT(stream_.ReceiveHeader(AtOnce()), IsOk());
  std::vector<uint8_t> first(1);
  std::vector<uint8_t> second(2);
  std::vector<iovec> parts = {{.iov_base = first.data(), .iov_len = 1},
                              {.iov_base = second.data(), .iov_len = 2}};

  ASSERT_THAT(stream_.ReceiveBody(parts), IsOk());

  EXPECT_THAT(first, ElementsAre(7));
  EXPECT_THAT(second, ElementsAre(8, 9));
}

TEST_F(MessageStreamTest, ReceivesMessagesThatCameTogether) {
  std::vector<uint8_t> both = kMessage;
  both.insert(both.end(), kMessage.begin(), kMessage.end());
  both[19] = 3;
  ASSERT_THAT(peer_.SendBytes(both), IsOk());

  for (const int id : {0x0102, 0x0103}) {
    const auto incoming = stream_.ReceiveHeader(AtOnce());
    ASSERT_THAT(incoming, IsOk());
    EXPECT_EQ(incoming->header.msg_id, id);
    ASSERT_THAT(stream_.DiscardBody(incoming->body_bytes), IsOk());
  }
}

TEST_F(MessageStreamTest, DiscardsExactlyTheBody) {
  ASSERT_THAT(SendSize(16 + 9000), IsOk());
  ASSERT_THAT(peer_.SendBytes(std::vector<uint8_t>(9000)), IsOk());
  ASSERT_THAT(peer_.SendBytes(kMessage), IsOk());
  const auto first = stream_.ReceiveHeader(AtOnce());
  ASSERT_THAT(first, IsOk());

  ASSERT_THAT(stream_.DiscardBody(first->body_bytes), IsOk());

  const auto next = stream_.ReceiveHeader(AtOnce());
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->header.msg_id, 0x0102);
}

TEST_F(MessageStreamTest, ReceivesAMessageThatComesByteByByte) {
  std::thread sender([this] {
    for (const uint8_t byte : kMessage) {
      if (!peer_.SendBytes({&byte, 1}).ok()) return;
    }
  });

  const auto incoming = stream_.ReceiveHeader(Soon());
  std::vector<uint8_t> body(3);
  const absl::Status received = stream_.ReceiveBody(body);

  sender.join();
  ASSERT_THAT(incoming, IsOk());
  EXPECT_EQ(incoming->header.msg_id, 0x0102);
  EXPECT_EQ(incoming->header.msg_size, 19u);
  ASSERT_THAT(received, IsOk());
  EXPECT_THAT(body, ElementsAre(7, 8, 9));
}

// The kernel may join what a peer sends in pieces before anybody reads, but not across descriptors.
TEST_F(MessageStreamTest, JoinsAHeaderThatWasSplitAnywhere) {
  for (size_t at = 1; at < 16; ++at) {
    const UniqueFd file = Memfd("abc");
    const std::vector<FdView> fds = {file};
    ASSERT_THAT(peer_.SendBytes(std::span(kMessage).first(at), fds), IsOk());
    ASSERT_THAT(peer_.SendBytes(std::span(kMessage).subspan(at)), IsOk());

    const auto incoming = stream_.ReceiveHeader(AtOnce());

    ASSERT_THAT(incoming, IsOk()) << at;
    EXPECT_EQ(incoming->header.msg_size, 19u) << at;
    EXPECT_THAT(incoming->fds, SizeIs(1)) << at;
    ASSERT_THAT(stream_.DiscardBody(incoming->body_bytes), IsOk()) << at;
  }
}

TEST_F(MessageStreamTest, NothingIsReadWhenNoMessageBeginsInTime) {
  EXPECT_THAT(stream_.ReceiveHeader(AtOnce()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(stream_.ReceiveHeader(Deadline::In(absl::Milliseconds(5))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));

  ASSERT_THAT(peer_.SendBytes(kMessage), IsOk());
  EXPECT_THAT(stream_.ReceiveHeader(AtOnce()), IsOk());
}

TEST_F(MessageStreamTest, APeerThatClosesBetweenMessagesIsUnavailable) {
  peer_.Close();

  EXPECT_THAT(stream_.ReceiveHeader(Soon()), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(MessageStreamTest, HalfAHeaderIsDataLossWhenThePeerCloses) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const int before = OpenFdCount();
  ASSERT_THAT(peer_.SendBytes(std::span(kMessage).first(15), fds), IsOk());
  peer_.Close();

  EXPECT_THAT(stream_.ReceiveHeader(Soon()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("closed")));
  EXPECT_EQ(OpenFdCount(), before - 1);
}

TEST_F(MessageStreamTest, HalfAHeaderIsDataLossWhenThePeerStops) {
  ASSERT_THAT(peer_.SendBytes(std::span(kMessage).first(1)), IsOk());

  EXPECT_THAT(stream_.ReceiveHeader(Soon()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("stopped")));
}

TEST_F(MessageStreamTest, HalfABodyIsDataLossWhenThePeerCloses) {
  ASSERT_THAT(peer_.SendBytes(std::span(kMessage).first(18)), IsOk());
  peer_.Close();
  ASSERT_THAT(stream_.ReceiveHeader(Soon()), IsOk());
  std::vector<uint8_t> body(3);

  EXPECT_THAT(stream_.ReceiveBody(body),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("closed")));
}

TEST_F(MessageStreamTest, HalfABodyIsDataLossWhenThePeerStops) {
  ASSERT_THAT(peer_.SendBytes(std::span(kMessage).first(18)), IsOk());
  ASSERT_THAT(stream_.ReceiveHeader(Soon()), IsOk());
  std::vector<uint8_t> body(3);

  EXPECT_THAT(stream_.ReceiveBody(body),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("stopped")));
}

// Each piece comes in time, the message as a whole does not: that would go on for 4 GiB.
TEST_F(MessageStreamTest, AMessageThatTricklesIsDataLoss) {
  auto pair = ScriptedPeer::Pair();
  ASSERT_THAT(pair, IsOk());
  MessageStream stream(*Socket::Adopt(std::move(pair->socket)),
                       {.max_message_bytes = UINT32_MAX, .stall_timeout = absl::Milliseconds(20)});
  std::atomic<bool> given_up = false;
  std::thread sender([&peer = pair->peer, &given_up] {
    std::vector<uint8_t> bytes(4096);
    std::copy(kMessage.begin(), kMessage.end(), bytes.begin());
    for (size_t i = 4; i < 8; ++i) bytes[i] = 0xff;
    const Deadline enough = Deadline::In(absl::Seconds(2));
    while (!given_up && !enough.passed() && peer.SendBytes(bytes).ok()) {
      int unread = 1;
      while (unread > 0 && !given_up && !enough.passed()) {
        ASSERT_EQ(::ioctl(peer.fd().get(), SIOCOUTQ, &unread), 0);
        std::this_thread::yield();
      }
    }
    peer.Close();
  });
  const auto incoming = stream.ReceiveHeader(Soon());

  const absl::Status status = stream.DiscardBody(UINT32_MAX - 16);

  given_up = true;
  sender.join();
  ASSERT_THAT(incoming, IsOk());
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("stopped")));
}

TEST_F(MessageStreamTest, DescriptorsWithTheBodyAreDataLoss) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const int before = OpenFdCount();
  ASSERT_THAT(peer_.SendBytes(std::span(kMessage).first(16)), IsOk());
  ASSERT_THAT(peer_.SendBytes(std::span(kMessage).subspan(16), fds), IsOk());
  ASSERT_THAT(stream_.ReceiveHeader(AtOnce()), IsOk());

  EXPECT_THAT(stream_.DiscardBody(3),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("descriptors")));

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(MessageStreamTest, AMessageShorterThanItsHeaderIsDataLoss) {
  for (uint32_t size = 0; size < 16; ++size) {
    ASSERT_THAT(SendSize(size), IsOk());

    EXPECT_THAT(stream_.ReceiveHeader(AtOnce()),
                StatusIs(absl::StatusCode::kDataLoss,
                         AllOf(HasSubstr("REGION_READ: msg_size is"), HasSubstr("want 16 to"))))
        << size;
  }
}

TEST_F(MessageStreamTest, AMessageOfTheLongestSizeIsTaken) {
  ASSERT_THAT(SendSize(kMaxMessageBytes), IsOk());

  const auto incoming = stream_.ReceiveHeader(AtOnce());

  ASSERT_THAT(incoming, IsOk());
  EXPECT_EQ(incoming->body_bytes, kMaxMessageBytes - 16);
}

TEST_F(MessageStreamTest, ALongerMessageIsDataLoss) {
  for (const uint32_t size : {kMaxMessageBytes + 1, std::numeric_limits<uint32_t>::max()}) {
    ASSERT_THAT(SendSize(size), IsOk());

    EXPECT_THAT(stream_.ReceiveHeader(AtOnce()),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("want 16 to 10000")))
        << size;
  }
}

TEST_F(MessageStreamTest, TheLongestSizeCanBeChanged) {
  stream_.set_max_message_bytes(20);
  ASSERT_THAT(SendSize(20), IsOk());
  EXPECT_THAT(stream_.ReceiveHeader(AtOnce()), IsOk());
  ASSERT_THAT(SendSize(21), IsOk());
  EXPECT_THAT(stream_.ReceiveHeader(AtOnce()), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace vfio_user
