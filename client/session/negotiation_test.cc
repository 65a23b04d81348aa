#include "client/session/negotiation.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/hex_bytes.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr MessageHeader kVersion = {.command = Command::kVersion};

// The server says its part in advance: what a client sends does not change it.
class NegotiationTest : public testing::Test {
 protected:
  void SetUp() override {
    fds_before_ = OpenFdCount();
    absl::StatusOr<ScriptedPeer::Connected> connected = ScriptedPeer::Pair();
    ASSERT_THAT(connected, IsOk());
    server_.emplace(std::move(connected->peer));
    absl::StatusOr<Socket> socket = Socket::Adopt(std::move(connected->socket));
    ASSERT_THAT(socket, IsOk());
    client_.emplace(*std::move(socket));
  }

  absl::Status ReplyVersion(uint16_t major, uint16_t minor, std::string_view json,
                            std::span<const FdView> fds = {}) {
    // Sized at once, its last byte the NUL.
    std::vector<uint8_t> body(4 + json.size() + 1);
    body[0] = static_cast<uint8_t>(major);
    body[2] = static_cast<uint8_t>(minor);
    std::ranges::copy(json, body.begin() + 4);
    return server_->Reply(kVersion, body, fds);
  }

  absl::StatusOr<Negotiated> Run(absl::Duration timeout = absl::Seconds(20)) {
    return Negotiate(*std::move(client_), 1 << 20, Deadline::In(timeout));
  }

  int fds_before_ = 0;
  std::optional<ScriptedPeer> server_;
  std::optional<Socket> client_;
};

TEST_F(NegotiationTest, OffersVersionAndCapabilitiesAndNoDescriptor) {
  ASSERT_THAT(ReplyVersion(0, 2, "{}"), IsOk());
  const absl::StatusOr<Negotiated> negotiated = Run();
  ASSERT_THAT(negotiated, IsOk());

  const absl::StatusOr<ScriptedPeer::Message> offer = server_->Receive();

  ASSERT_THAT(offer, IsOk());
  EXPECT_TRUE(offer->header.is_command());
  EXPECT_EQ(offer->header.command, Command::kVersion);
  EXPECT_THAT(offer->fds, testing::IsEmpty());
  constexpr std::string_view kJson =
      R"({"capabilities":{"max_data_xfer_size":1048576,"max_msg_fds":253,)"
      R"("twin_socket":{"supported":true},"write_multiple":true}})";
  std::vector<uint8_t> want(4 + kJson.size() + 1);
  want[2] = 2;
  std::ranges::copy(kJson, want.begin() + 4);
  EXPECT_THAT(offer->body, ElementsAreArray(want));
}

TEST_F(NegotiationTest, KeepsWhatTheServerSaid) {
  ASSERT_THAT(ReplyVersion(0, 1, R"({"capabilities":{"max_data_xfer_size":4096,"pgsizes":4096}})"),
              IsOk());

  const absl::StatusOr<Negotiated> negotiated = Run();

  ASSERT_THAT(negotiated, IsOk());
  EXPECT_EQ(negotiated->server.minor, 1);
  EXPECT_EQ(negotiated->server.capabilities.max_data_xfer_size, 4096u);
  EXPECT_EQ(negotiated->max_data_xfer_bytes, 1u << 20);
  EXPECT_FALSE(negotiated->twin.has_value());
}

TEST_F(NegotiationTest, TakesAReplyWithoutJson) {
  ASSERT_THAT(server_->Reply(kVersion, Hex("00 00 00 00")), IsOk());

  EXPECT_THAT(Run(), IsOk());
}

TEST_F(NegotiationTest, TakesTheTwinSocketAndClosesOtherDescriptors) {
  absl::StatusOr<ScriptedPeer::Connected> twin = ScriptedPeer::Pair();
  ASSERT_THAT(twin, IsOk());
  const UniqueFd other = Memfd("surplus");
  const std::vector<FdView> fds = {other, twin->socket, other};
  ASSERT_THAT(ReplyVersion(
                  0, 2, R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":1}}})", fds),
              IsOk());
  const int before = OpenFdCount();

  absl::StatusOr<Negotiated> negotiated = Run();

  ASSERT_THAT(negotiated, IsOk());
  ASSERT_TRUE(negotiated->twin.has_value());
  EXPECT_EQ(OpenFdCount(), before + 1);
  twin->socket.Reset();
  negotiated->twin.reset();
  EXPECT_THAT(twin->peer.ReceiveEof(), IsOk());
}

TEST_F(NegotiationTest, ClosesDescriptorsThatNobodyAskedFor) {
  const UniqueFd other = Memfd("surplus");
  const std::vector<FdView> fds = {other, other};
  ASSERT_THAT(ReplyVersion(0, 2, R"({"capabilities":{"twin_socket":{"supported":false}}})", fds),
              IsOk());
  const int before = OpenFdCount();

  const absl::StatusOr<Negotiated> negotiated = Run();

  ASSERT_THAT(negotiated, IsOk());
  EXPECT_FALSE(negotiated->twin.has_value());
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(NegotiationTest, RefusesATwinSocketThatIsNotThere) {
  ASSERT_THAT(
      ReplyVersion(0, 2, R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}})"),
      IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss,
                              HasSubstr("twin_socket's fd_index is 0, and 0 descriptors came")));
}

TEST_F(NegotiationTest, RefusesATwinSocketWithoutAnIndex) {
  const UniqueFd file = Memfd("x");
  const FdView fd = file;
  ASSERT_THAT(
      ReplyVersion(0, 2, R"({"capabilities":{"twin_socket":{"supported":true}}})", {&fd, 1}),
      IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("fd_index is missing")));
}

TEST_F(NegotiationTest, RefusesATwinSocketThatIsAFile) {
  const UniqueFd file = Memfd("x");
  const FdView fd = file;
  ASSERT_THAT(
      ReplyVersion(0, 2, R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}})",
                   {&fd, 1}),
      IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("is not a socket")));
}

TEST_F(NegotiationTest, RefusesAnotherMajorVersionAndNamesBoth) {
  ASSERT_THAT(ReplyVersion(1, 3, "{}"), IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kUnimplemented,
                              HasSubstr("version 1.3 of vfio-user, this client 0.2")));
}

TEST_F(NegotiationTest, KeepsTheErrnoOfARefusal) {
  ASSERT_THAT(server_->ReplyError(kVersion, EBUSY), IsOk());

  const absl::Status status = Run().status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("has a client already")));
  EXPECT_EQ(ErrnoOf(status), EBUSY);
}

TEST_F(NegotiationTest, KeepsTheErrnoOfAnyOtherRefusal) {
  ASSERT_THAT(server_->ReplyError(kVersion, EINVAL), IsOk());

  const absl::Status status = Run().status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("does not take this client: VERSION refused")));
  EXPECT_EQ(ErrnoOf(status), EINVAL);
}

TEST_F(NegotiationTest, ReadsTheRefusalOfAServerThatHungUpWithoutListening) {
  ASSERT_THAT(server_->ReplyError({.msg_id = 9, .command = Command::kVersion}, EBUSY), IsOk());
  server_->Close();

  const absl::Status status = Run().status();

  EXPECT_EQ(ErrnoOf(status), EBUSY) << status;
}

TEST_F(NegotiationTest, SaysThatTheServerHungUp) {
  server_->Close();

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kUnavailable,
                              HasSubstr("hung up instead of answering: it may have a client")));
}

TEST_F(NegotiationTest, GivesUpOnASilentServerInTime) {
  const absl::Time start = absl::Now();

  const absl::Status status = Run(absl::Milliseconds(20)).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("does not answer")));
  EXPECT_LT(absl::Now() - start, absl::Seconds(4));
}

TEST_F(NegotiationTest, GivesUpOnHalfAHeaderInTime) {
  ASSERT_THAT(server_->SendBytes(Hex("00 00 01 00 20 00 00")), IsOk());
  const absl::Time start = absl::Now();

  const absl::Status status = Run(absl::Milliseconds(20)).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("middle of a message")));
  EXPECT_LT(absl::Now() - start, absl::Seconds(4));
}

TEST_F(NegotiationTest, GivesUpOnHalfABodyInTime) {
  ASSERT_THAT(server_->SendBytes(Hex("00 00 01 00 20 00 00 00 01 00 00 00 00 00 00 00 00 00")),
              IsOk());
  const absl::Time start = absl::Now();

  const absl::Status status = Run(absl::Milliseconds(20)).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("middle of a message")));
  EXPECT_LT(absl::Now() - start, absl::Seconds(4));
}

TEST_F(NegotiationTest, SaysThatGarbageIsNoVfioUserServers) {
  const std::string_view garbage = "HTTP/1.1 400 Bad Request\r\n\r\n";
  ASSERT_THAT(server_->SendBytes(std::vector<uint8_t>(garbage.begin(), garbage.end())), IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss,
                              HasSubstr("does not answer like a vfio-user server")));
}

TEST_F(NegotiationTest, RefusesAReplyLongerThanAnyCapabilities) {
  // 16 MiB: refused before anything is allocated for it.
  ASSERT_THAT(server_->SendBytes(Hex("00 00 01 00 00 00 00 01 01 00 00 00 00 00 00 00")), IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("msg_size is 16777216")));
}

TEST_F(NegotiationTest, RefusesACommandInsteadOfAReply) {
  ASSERT_THAT(server_->Send(kVersion, Hex("00 00 02 00")), IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("of type 0")));
}

TEST_F(NegotiationTest, RefusesAReplyToAnotherCommand) {
  ASSERT_THAT(server_->Reply({.command = Command::kDmaMap}, Hex("00 00 02 00")), IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("command 2 of type 1")));
}

TEST_F(NegotiationTest, RefusesAReplyToAnotherRequest) {
  ASSERT_THAT(server_->Reply({.msg_id = 5, .command = Command::kVersion}, Hex("00 00 02 00")),
              IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("msg_id is 5, want 0")));
}

TEST_F(NegotiationTest, RefusesABodyWithoutAVersion) {
  ASSERT_THAT(server_->Reply(kVersion, Hex("00 00 02")), IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("body is 3 bytes, want")));
}

TEST_F(NegotiationTest, RefusesJsonThatIsNone) {
  ASSERT_THAT(ReplyVersion(0, 2, R"({"capabilities":)"), IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("not a JSON object")));
}

TEST_F(NegotiationTest, RefusesATransferSizeOfZero) {
  ASSERT_THAT(ReplyVersion(0, 2, R"({"capabilities":{"max_data_xfer_size":0}})"), IsOk());

  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("max_data_xfer_size is 0")));
}

TEST_F(NegotiationTest, TakesAnAbsurdTransferSizeForTheLargestThatIsNot) {
  ASSERT_THAT(ReplyVersion(0, 2, R"({"capabilities":{"max_data_xfer_size":67108865}})"), IsOk());

  const auto negotiated = Run();

  ASSERT_THAT(negotiated, IsOk());
  EXPECT_EQ(negotiated->server.capabilities.MaxDataXferBytes(), 67'108'864u);
}

TEST_F(NegotiationTest, ClosesTheSocketOnAnError) {
  ASSERT_THAT(ReplyVersion(1, 0, "{}"), IsOk());

  ASSERT_FALSE(Run().ok());

  ASSERT_THAT(server_->Receive(), IsOk());  // The offer.
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
  server_->Close();
  client_.reset();
  EXPECT_EQ(OpenFdCount(), fds_before_);
}

}  // namespace
}  // namespace vfio_user
