#include "tests/testing/scripted_peer.h"

#include <cerrno>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
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

// Two scripted peers that talk to each other.
class ScriptedPeerTest : public testing::Test {
 protected:
  ScriptedPeerTest() : ScriptedPeerTest(ScriptedPeer::Pair()) {}
  explicit ScriptedPeerTest(absl::StatusOr<ScriptedPeer::Connected> pair)
      : one_(std::move(pair->peer)), other_(std::move(pair->socket)) {}

  ScriptedPeer one_;
  ScriptedPeer other_;
};

TEST_F(ScriptedPeerTest, SendsTheBytesOfAMessage) {
  ASSERT_THAT(one_.Send({.msg_id = 0x1234, .command = Command::kRegionRead}, {{7, 8}}), IsOk());

  const auto chunk = other_.ReceiveChunk(100);

  ASSERT_THAT(chunk, IsOk());
  EXPECT_THAT(chunk->bytes,
              ElementsAre(0x34, 0x12, 9, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8));
}

TEST_F(ScriptedPeerTest, ReceivesOneMessageWhole) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  ASSERT_THAT(one_.Send({.msg_id = 1, .command = Command::kDmaMap}, {{7, 8, 9}}, fds), IsOk());
  ASSERT_THAT(one_.Send({.msg_id = 2, .command = Command::kDeviceReset}), IsOk());

  const auto first = other_.Receive();
  const auto second = other_.Receive();

  ASSERT_THAT(first, IsOk());
  EXPECT_EQ(first->header.msg_id, 1);
  EXPECT_THAT(first->body, ElementsAre(7, 8, 9));
  ASSERT_THAT(first->fds, SizeIs(1));
  EXPECT_TRUE(IsSameFile(first->fds[0], file));
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->header.msg_id, 2);
  EXPECT_THAT(second->fds, IsEmpty());
}

TEST_F(ScriptedPeerTest, RepliesToACommand) {
  const MessageHeader command = {.msg_id = 3, .command = Command::kRegionRead};
  ASSERT_THAT(one_.Reply(command, {{5}}), IsOk());
  ASSERT_THAT(one_.ReplyError(command, EINVAL), IsOk());
  ASSERT_THAT(one_.ReplyError(command, 0), IsOk());

  const auto reply = other_.Receive();
  const auto error = other_.Receive();
  const auto error_without_number = other_.Receive();

  ASSERT_THAT(reply, IsOk());
  EXPECT_TRUE(reply->header.is_reply());
  EXPECT_EQ(reply->header.msg_id, 3);
  EXPECT_THAT(reply->body, ElementsAre(5));
  ASSERT_THAT(error, IsOk());
  EXPECT_TRUE(error->header.error_flag);
  EXPECT_EQ(error->header.error, static_cast<uint32_t>(EINVAL));
  ASSERT_THAT(error_without_number, IsOk());
  EXPECT_TRUE(error_without_number->header.error_flag);
  EXPECT_EQ(error_without_number->header.error, 0u);
}

TEST_F(ScriptedPeerTest, RefusesDescriptorsInTheMiddleOfAMessage) {
  const UniqueFd file = Memfd("abc");
  const std::vector<FdView> fds = {file};
  const std::vector<uint8_t> header = {1, 0, 9, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  ASSERT_THAT(one_.SendBytes(header), IsOk());
  ASSERT_THAT(one_.SendBytes({{7}}, fds), IsOk());
  const int before = OpenFdCount();

  EXPECT_THAT(other_.Receive(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("descriptors")));

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ScriptedPeerTest, RefusesAMessageThatCannotBe) {
  ASSERT_THAT(one_.SendBytes({{1, 0, 9, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}), IsOk());

  EXPECT_THAT(other_.Receive(), StatusIs(absl::StatusCode::kDataLoss, "msg_size is 15"));
}

TEST_F(ScriptedPeerTest, ReceiveEofTellsTheEndFromBytes) {
  ASSERT_THAT(one_.SendBytes({{1}}), IsOk());
  EXPECT_THAT(other_.ReceiveEof(), StatusIs(absl::StatusCode::kDataLoss));

  one_.Close();

  EXPECT_THAT(other_.ReceiveEof(), IsOk());
  EXPECT_THAT(other_.Receive(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ScriptedPeerTest, GivesUpWhenNothingComes) {
  auto pair = ScriptedPeer::Pair();
  ASSERT_THAT(pair, IsOk());
  ScriptedPeer impatient(std::move(pair->socket), absl::Milliseconds(1));

  EXPECT_THAT(impatient.Receive(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(impatient.ReceiveEof(), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(ScriptedPeerTest, GivesUpWhenNobodyReads) {
  auto pair = ScriptedPeer::Pair();
  ASSERT_THAT(pair, IsOk());
  ScriptedPeer impatient(std::move(pair->socket), absl::Milliseconds(1));

  EXPECT_THAT(impatient.SendBytes(std::vector<uint8_t>(8 << 20)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(ScriptedPeerTest, ExchangesVersions) {
  absl::StatusOr<ScriptedPeer::Message> request = absl::UnknownError("not yet");
  std::thread server([&] { request = one_.AnswerVersion(R"({"capabilities":{"a":1}})"); });

  const auto reply = other_.NegotiateVersion("");
  server.join();

  ASSERT_THAT(request, IsOk());
  EXPECT_THAT(request->body, ElementsAre(0, 0, 2, 0));
  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(std::string(reply->body.begin(), reply->body.end()),
            std::string("\0\0\2\0{\"capabilities\":{\"a\":1}}\0", 29));
}

TEST_F(ScriptedPeerTest, AnswerVersionWantsAVersion) {
  ASSERT_THAT(other_.Send({.command = Command::kDeviceReset}), IsOk());

  EXPECT_THAT(one_.AnswerVersion(""),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("DEVICE_RESET")));
}

}  // namespace
}  // namespace vfio_user
