// Messages that end a connection, and messages that do not come in one piece.
#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class ServerFramingTest : public ServerFixture {
 protected:
  void Start() {
    Serve(std::make_unique<ProbeDevice>());
    auto client = RawClient::Connect(path());
    ASSERT_THAT(client, IsOk());
    client_ = std::make_unique<RawClient>(*std::move(client));
  }
  void ExpectEinvalAndTheEnd() {
    const auto reply = client_->peer().Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_TRUE(reply->header.is_reply());
    EXPECT_EQ(reply->header.msg_id, 9);
    EXPECT_EQ(reply->header.error, static_cast<uint32_t>(EINVAL));
    EXPECT_THAT(client_->peer().ReceiveEof(), IsOk());
  }
  // The next client is served.
  void ExpectTheDeviceIsFree() { EXPECT_THAT(RawClient::Connect(path()), IsOk()); }

  std::unique_ptr<RawClient> client_;
};

TEST_F(ServerFramingTest, AnswersASizeBelowAHeaderAndCloses) {
  for (const uint32_t size : {0u, 1u, 15u}) {
    if (client_ == nullptr) Start();
    MessageHeader header = {.msg_id = 9, .command = Command::kDeviceReset, .msg_size = size};

    ASSERT_THAT(client_->peer().SendBytes(header.Serialize()), IsOk());

    ExpectEinvalAndTheEnd();
    client_->peer().Close();
    client_ = std::make_unique<RawClient>(*RawClient::Connect(path()));
  }
}

TEST_F(ServerFramingTest, AnswersASizeAboveTheLimitAndCloses) {
  Start();
  MessageHeader header = {
      .msg_id = 9, .command = Command::kRegionWrite, .msg_size = (1 << 20) + 4096};

  ASSERT_THAT(client_->peer().SendBytes(header.Serialize()), IsOk());

  ExpectEinvalAndTheEnd();
  ExpectTheDeviceIsFree();
}

TEST_F(ServerFramingTest, AnswersATypeThatThereIsNotAndCloses) {
  Start();
  MessageHeader header = {.msg_id = 9, .command = Command::kDeviceReset, .type = 2};

  ASSERT_THAT(client_->peer().Send(header), IsOk());

  ExpectEinvalAndTheEnd();
  ExpectTheDeviceIsFree();
}

TEST_F(ServerFramingTest, AnswersAReplyToNothingAndCloses) {
  for (const uint32_t error : {0u, uint32_t{EINVAL}}) {
    if (client_ == nullptr) Start();
    const MessageHeader header = {.msg_id = 9, .command = Command::kDmaRead};

    ASSERT_THAT(client_->peer().Send(error == 0 ? header.Reply() : header.Reply(error)), IsOk());

    ExpectEinvalAndTheEnd();
    client_->peer().Close();
    client_ = std::make_unique<RawClient>(*RawClient::Connect(path()));
  }
}

TEST_F(ServerFramingTest, AnswersASecondVersionAndCloses) {
  Start();
  MessageHeader header = {.msg_id = 9, .command = Command::kVersion};

  ASSERT_THAT(client_->peer().Send(header, std::vector<uint8_t>{0, 0, 0, 0}), IsOk());

  ExpectEinvalAndTheEnd();
  ExpectTheDeviceIsFree();
  EXPECT_THAT(log(), Contains(HasSubstr("negotiated already")));
}

TEST_F(ServerFramingTest, IgnoresReservedFlagBits) {
  Start();
  MessageHeader header = {.msg_id = 9, .command = Command::kDeviceReset};
  auto bytes = header.Serialize();
  bytes[9] = 0xff;
  bytes[8] |= 0xc0;

  ASSERT_THAT(client_->peer().SendBytes(bytes), IsOk());

  const auto reply = client_->peer().Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.error, 0u);
}

TEST_F(ServerFramingTest, TakesAMessageByteByByte) {
  Start();
  MessageHeader header = {.msg_id = 9, .command = Command::kDeviceGetInfo, .msg_size = 32};
  const auto head = header.Serialize();
  std::vector<uint8_t> bytes(head.begin(), head.end());
  bytes.resize(32);
  bytes[16] = 16;

  for (const uint8_t& byte : bytes) {
    ASSERT_THAT(client_->peer().SendBytes({&byte, 1}), IsOk());
  }

  const auto reply = client_->peer().Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.error, 0u);
}

TEST_F(ServerFramingTest, TakesManyMessagesAtOnce) {
  Start();
  std::vector<uint8_t> bytes;
  for (uint16_t id = 0; id < 50; ++id) {
    const auto head = MessageHeader{.msg_id = id, .command = Command::kDeviceReset}.Serialize();
    bytes.insert(bytes.end(), head.begin(), head.end());
  }

  ASSERT_THAT(client_->peer().SendBytes(bytes), IsOk());

  for (uint16_t id = 0; id < 50; ++id) {
    const auto reply = client_->peer().Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.msg_id, id);
  }
}

TEST_F(ServerFramingTest, DropsAClientThatStopsInTheMiddleOfAMessage) {
  options_.negotiation_timeout = absl::Milliseconds(50);
  Start();
  MessageHeader header = {.msg_id = 9, .command = Command::kDeviceGetInfo, .msg_size = 32};

  ASSERT_THAT(client_->peer().SendBytes(header.Serialize()), IsOk());

  EXPECT_THAT(client_->peer().ReceiveEof(), IsOk());
  ExpectTheDeviceIsFree();
}

TEST_F(ServerFramingTest, SurvivesAClientThatLeavesAnywhere) {
  Start();
  MessageHeader header = {.msg_id = 9, .command = Command::kDeviceGetInfo, .msg_size = 32};
  const auto head = header.Serialize();
  std::vector<uint8_t> bytes(head.begin(), head.end());
  bytes.resize(32);

  for (size_t sent = 0; sent < bytes.size(); ++sent) {
    ASSERT_THAT(client_->peer().SendBytes(std::span(bytes).first(sent)), IsOk());
    client_->peer().Close();
    auto next = RawClient::Connect(path());
    ASSERT_THAT(next, IsOk());
    client_ = std::make_unique<RawClient>(*std::move(next));
  }

  EXPECT_THAT(client_->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
}

TEST_F(ServerFramingTest, TheDescriptorsOfAMessageThatIsNeverCompleteAreClosed) {
  Start();
  const UniqueFd file = Memfd("never");
  const std::vector<FdView> fds(8, FdView(file));
  client_->peer().Close();
  auto rest = RawClient::Connect(path());
  ASSERT_THAT(rest, IsOk());
  const int before = OpenFdCount();
  MessageHeader header = {.msg_id = 9, .command = Command::kDmaMap, .msg_size = 48};
  ASSERT_THAT(rest->peer().SendBytes(header.Serialize(), fds), IsOk());
  rest->peer().Close();

  // By the time that another client is served, the first one's things are gone.
  auto next = RawClient::Connect(path());
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(OpenFdCount(), before);
}

}  // namespace
}  // namespace vfio_user
