#include "server/commands/negotiation.h"

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
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
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/version.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// As QEMU 11 sends it.
constexpr std::string_view kQemuJson =
    R"({"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, )"
    R"("max_data_xfer_size": 1048576, "migration": {"max_bitmap_size": 268435456, )"
    R"("pgsize": 4096}, "write_multiple": true}})";

std::vector<uint8_t> VersionBody(uint16_t major, uint16_t minor, std::string_view json) {
  std::vector<uint8_t> body = {static_cast<uint8_t>(major & 0xff), static_cast<uint8_t>(major >> 8),
                               static_cast<uint8_t>(minor & 0xff),
                               static_cast<uint8_t>(minor >> 8)};
  body.insert(body.end(), json.begin(), json.end());
  if (!json.empty()) body.push_back(0);
  return body;
}

MessageHeader VersionHeader() {
  MessageHeader header;
  header.msg_id = 0x1234;
  header.command = Command::kVersion;
  return header;
}

// A client that has connected, and the server's end of the connection.
class NegotiationTest : public testing::Test {
 protected:
  NegotiationTest() : NegotiationTest(*ScriptedPeer::Pair()) {}

  absl::StatusOr<AcceptedClient> Negotiate() { return NegotiateVersion(stream_, terms_); }

  // The client proposes, and the server accepts; returns the server's answer.
  VersionMessage Accept(std::span<const uint8_t> body, absl::StatusOr<AcceptedClient>& negotiated) {
    EXPECT_THAT(client_.Send(VersionHeader(), body), IsOk());
    negotiated = Negotiate();
    EXPECT_THAT(negotiated, IsOk());
    reply_ = client_.Receive();
    EXPECT_THAT(reply_, IsOk());
    if (!reply_.ok()) return {};
    EXPECT_EQ(reply_->header.msg_id, 0x1234);
    EXPECT_TRUE(reply_->header.is_reply());
    EXPECT_FALSE(reply_->header.error_flag);
    const absl::StatusOr<VersionMessage> version = VersionMessage::Parse(reply_->body);
    EXPECT_THAT(version, IsOk());
    return version.ok() ? *version : VersionMessage();
  }

  NegotiationTerms terms_ = {.timeout = absl::Seconds(20)};
  ScriptedPeer client_;
  MessageStream stream_;
  absl::StatusOr<ScriptedPeer::Message> reply_ = absl::UnknownError("none");

 private:
  explicit NegotiationTest(ScriptedPeer::Connected connected)
      : client_(std::move(connected.peer)),
        stream_(*Socket::Adopt(std::move(connected.socket)), {}) {}
};

TEST_F(NegotiationTest, AnswersQemuWithinTheBufferThatQemuHas) {
  const std::vector<uint8_t> request = VersionBody(0, 0, kQemuJson);
  ASSERT_THAT(request, SizeIs(214 - 16));
  absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

  const VersionMessage reply = Accept(request, negotiated);

  EXPECT_LE(reply_->header.msg_size, 214u);
  EXPECT_EQ(reply.major, 0);
  EXPECT_EQ(reply.minor, 0);
  EXPECT_EQ(reply.capabilities.MaxDataXferBytes(), 1u << 20);
  EXPECT_EQ(reply.capabilities.MaxDmaMaps(), 65535u);
  EXPECT_LE(reply.capabilities.MaxMsgFds(), 16u);
  EXPECT_TRUE(reply.capabilities.WriteMultiple());
  EXPECT_FALSE(reply.capabilities.TwinSocketSupported());
  EXPECT_EQ(negotiated->max_data_xfer_bytes, 1u << 20);
  EXPECT_TRUE(negotiated->write_multiple);
  EXPECT_EQ(negotiated->max_msg_fds, 16u);
  EXPECT_FALSE(negotiated->twin.has_value());
  EXPECT_THAT(reply_->fds, IsEmpty());
}

TEST_F(NegotiationTest, LetsNobodyWriteManyAtOnceWhoDidNotAsk) {
  for (const std::string_view json :
       {R"({"capabilities":{}})", R"({"capabilities":{"write_multiple":false}})"}) {
    absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

    const VersionMessage reply = Accept(VersionBody(0, 0, json), negotiated);

    EXPECT_FALSE(reply.capabilities.write_multiple.has_value());
    EXPECT_FALSE(negotiated->write_multiple);
  }
}

TEST_F(NegotiationTest, LeavesOutWhatWouldMakeItsAnswerLongerThanTheQuestion) {
  // The answer has 112 bytes with write_multiple, and 90 without.
  const std::string json = R"({"capabilities":{"write_multiple":true}})";
  for (const size_t bytes : {89u, 90u, 111u, 112u}) {
    const std::string padding(bytes - 4 - json.size() - 1, ' ');
    absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

    const VersionMessage reply = Accept(VersionBody(0, 0, json + padding), negotiated);

    const bool taken = bytes == 89 || bytes == 112;
    EXPECT_EQ(reply.capabilities.WriteMultiple(), taken) << bytes;
    EXPECT_EQ(negotiated->write_multiple, taken) << bytes;
  }
}

TEST_F(NegotiationTest, AcceptsAClientThatSaysNothingOfItself) {
  absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

  Accept(VersionBody(0, 1, ""), negotiated);

  EXPECT_EQ(negotiated->max_data_xfer_bytes, 1u << 20);
}

TEST_F(NegotiationTest, AnswersWithTheLowerMinorVersion) {
  absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

  EXPECT_EQ(Accept(VersionBody(0, 1, ""), negotiated).minor, 1);
}

TEST_F(NegotiationTest, AnswersWithItsOwnMinorVersionToANewerClient) {
  absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

  EXPECT_EQ(Accept(VersionBody(0, 9, ""), negotiated).minor, 2);
}

TEST_F(NegotiationTest, KeepsToTheSmallerTransferOfBoth) {
  absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

  const VersionMessage reply =
      Accept(VersionBody(0, 2, R"({"capabilities":{"max_data_xfer_size":4096}})"), negotiated);

  EXPECT_EQ(negotiated->max_data_xfer_bytes, 4096u);
  EXPECT_EQ(reply.capabilities.MaxDataXferBytes(), 4096u);
}

TEST_F(NegotiationTest, OffersItsOwnSmallerTransferAndFewerMappings) {
  terms_.max_data_xfer_bytes = 8192;
  terms_.max_dma_maps = 10;
  absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

  const VersionMessage reply = Accept(VersionBody(0, 2, kQemuJson), negotiated);

  EXPECT_EQ(negotiated->max_data_xfer_bytes, 8192u);
  EXPECT_EQ(reply.capabilities.MaxDataXferBytes(), 8192u);
  EXPECT_EQ(reply.capabilities.MaxDmaMaps(), 10u);
}

TEST_F(NegotiationTest, GivesATwinSocketThatLeadsToTheServer) {
  absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

  const VersionMessage reply = Accept(
      VersionBody(0, 2, R"({"capabilities":{"twin_socket":{"supported":true}}})"), negotiated);

  EXPECT_TRUE(reply.capabilities.TwinSocketSupported());
  EXPECT_EQ(reply.capabilities.twin_socket->fd_index, 0u);
  ASSERT_THAT(reply_->fds, SizeIs(1));
  ASSERT_TRUE(negotiated->twin.has_value());
  ScriptedPeer twin(std::move(reply_->fds[0]));
  ASSERT_THAT(twin.Send(VersionHeader()), IsOk());
  EXPECT_THAT(negotiated->twin->WaitReadable(Deadline::In(absl::Seconds(20))), IsOk());
}

TEST_F(NegotiationTest, GivesNoTwinSocketToAClientThatTakesNoDescriptors) {
  absl::StatusOr<AcceptedClient> negotiated = absl::UnknownError("");

  const VersionMessage reply = Accept(
      VersionBody(0, 2, R"({"capabilities":{"max_msg_fds":0,"twin_socket":{"supported":true}}})"),
      negotiated);

  EXPECT_FALSE(reply.capabilities.TwinSocketSupported());
  EXPECT_FALSE(negotiated->twin.has_value());
  EXPECT_THAT(reply_->fds, IsEmpty());
}

TEST_F(NegotiationTest, RefusesACommandThatIsNotVersion) {
  MessageHeader header = VersionHeader();
  header.command = Command::kDeviceGetInfo;
  ASSERT_THAT(client_.Send(header, VersionBody(0, 0, "")), IsOk());

  EXPECT_THAT(Negotiate(), StatusIs(absl::StatusCode::kInvalidArgument,
                                    HasSubstr("the first message is DEVICE_GET_INFO")));

  const absl::StatusOr<ScriptedPeer::Message> reply = client_.Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.error, static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(reply->header.command, Command::kDeviceGetInfo);
  EXPECT_EQ(reply->header.msg_id, 0x1234);
}

TEST_F(NegotiationTest, RefusesAReplyInPlaceOfACommand) {
  ASSERT_THAT(client_.Send(VersionHeader().Reply(), VersionBody(0, 0, "")), IsOk());

  EXPECT_THAT(Negotiate(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("type 1")));

  EXPECT_EQ(client_.Receive()->header.error, static_cast<uint32_t>(EINVAL));
}

TEST_F(NegotiationTest, RefusesDescriptorsAndClosesThem) {
  const UniqueFd stray = Memfd("stray");
  const FdView fds[] = {stray};
  const int before = OpenFdCount();
  ASSERT_THAT(client_.Send(VersionHeader(), VersionBody(0, 0, ""), fds), IsOk());

  EXPECT_THAT(Negotiate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 descriptors, want none")));

  EXPECT_EQ(client_.Receive()->header.error, static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(NegotiationTest, LeavesAVersionThatWantsNoReplyWithoutOne) {
  MessageHeader header = VersionHeader();
  header.no_reply = true;
  ASSERT_THAT(client_.Send(header, VersionBody(0, 0, "")), IsOk());

  EXPECT_THAT(Negotiate(), StatusIs(absl::StatusCode::kInvalidArgument));

  stream_.Shutdown();
  EXPECT_THAT(client_.ReceiveEof(), IsOk());
}

TEST_F(NegotiationTest, AnswersASizeThatCannotBe) {
  for (const uint32_t size : {0u, 15u, 16u + 4 + 4096 + 1, 0xffffffffu}) {
    ScriptedPeer::Connected connected = *ScriptedPeer::Pair();
    MessageStream stream(*Socket::Adopt(std::move(connected.socket)), {});
    MessageHeader header = VersionHeader();
    header.msg_size = size;
    const auto bytes = header.Serialize();
    ASSERT_THAT(connected.peer.SendBytes(bytes), IsOk());

    EXPECT_THAT(NegotiateVersion(stream, terms_), StatusIs(absl::StatusCode::kDataLoss));

    EXPECT_EQ(connected.peer.Receive()->header.error, static_cast<uint32_t>(EINVAL)) << size;
  }
}

TEST_F(NegotiationTest, GivesUpOnASilentClient) {
  terms_.timeout = absl::Milliseconds(1);

  EXPECT_THAT(Negotiate(), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(NegotiationTest, GivesUpOnAClientThatStopsHalfway) {
  terms_.timeout = absl::Milliseconds(20);
  const auto bytes = VersionHeader().Serialize();
  ASSERT_THAT(client_.SendBytes(std::span(bytes).first(7)), IsOk());

  EXPECT_THAT(Negotiate(), Not(IsOk()));
}

TEST_F(NegotiationTest, GivesUpOnAClientThatTricklesAfterTheTimeoutAsAWhole) {
  terms_.timeout = absl::Milliseconds(100);
  MessageHeader header = VersionHeader();
  const std::vector<uint8_t> body = VersionBody(0, 0, std::string(4000, ' '));
  header.msg_size = static_cast<uint32_t>(16 + body.size());
  const auto head = header.Serialize();
  ASSERT_THAT(client_.SendBytes(head), IsOk());
  std::thread trickle([&] {
    size_t sent = 0;
    while (sent < body.size() && client_.SendBytes(std::span(body).subspan(sent, 1)).ok()) {
      ++sent;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });

  EXPECT_THAT(Negotiate(), Not(IsOk()));

  stream_.Shutdown();
  trickle.join();
}

TEST_F(NegotiationTest, ReportsAClientThatLeaves) {
  client_.Close();

  EXPECT_THAT(Negotiate(), StatusIs(absl::StatusCode::kUnavailable));
}

struct BadBody {
  const char* name;
  std::vector<uint8_t> body;
};

class NegotiationBadBodyTest : public NegotiationTest,
                               public testing::WithParamInterface<BadBody> {};

TEST_P(NegotiationBadBodyTest, IsAnsweredWithEinval) {
  ASSERT_THAT(client_.Send(VersionHeader(), GetParam().body), IsOk());

  EXPECT_THAT(Negotiate(), StatusIs(absl::StatusCode::kInvalidArgument));

  const absl::StatusOr<ScriptedPeer::Message> reply = client_.Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_TRUE(reply->header.error_flag);
  EXPECT_EQ(reply->header.error, static_cast<uint32_t>(EINVAL));
  EXPECT_THAT(reply->body, IsEmpty());
}

std::vector<uint8_t> WithoutNul(std::vector<uint8_t> body) {
  body.pop_back();
  return body;
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, NegotiationBadBodyTest,
    testing::Values(
        BadBody{"Empty", {}}, BadBody{"Short", {0, 0, 2}}, BadBody{"Major1", VersionBody(1, 0, "")},
        BadBody{"NoNul", WithoutNul(VersionBody(0, 2, R"({"capabilities":{}})"))},
        BadBody{"NoJson", VersionBody(0, 2, "capabilities")},
        BadBody{"NoObject", VersionBody(0, 2, "[]")},
        BadBody{"CapabilitiesNoObject", VersionBody(0, 2, R"({"capabilities":7})")},
        BadBody{"FdsNoNumber", VersionBody(0, 2, R"({"capabilities":{"max_msg_fds":"8"}})")},
        BadBody{"FdsNegative", VersionBody(0, 2, R"({"capabilities":{"max_msg_fds":-1}})")},
        BadBody{"FdsAbsurd", VersionBody(0, 2, R"({"capabilities":{"max_msg_fds":1025}})")},
        BadBody{"NoTransfer", VersionBody(0, 2, R"({"capabilities":{"max_data_xfer_size":0}})")},
        BadBody{"TwinNoObject", VersionBody(0, 2, R"({"capabilities":{"twin_socket":true}})")}),
    [](const auto& wrong) { return std::string(wrong.param.name); });

}  // namespace
}  // namespace vfio_user
