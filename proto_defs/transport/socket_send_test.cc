// Sending to a peer that does not read.
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);

iovec PartOf(std::vector<uint8_t>& bytes) {
  return {.iov_base = bytes.data(), .iov_len = bytes.size()};
}

class SocketSendTest : public testing::Test {
 protected:
  SocketSendTest() : SocketSendTest(ScriptedPeer::Pair()) {}
  explicit SocketSendTest(absl::StatusOr<ScriptedPeer::Connected> pair)
      : peer_(std::move(pair->peer)), socket_(*Socket::Adopt(std::move(pair->socket))) {}

  ScriptedPeer peer_;
  Socket socket_;
};

TEST_F(SocketSendTest, GivesUpOnAPeerThatStopsReading) {
  std::vector<uint8_t> bytes(8 << 20);
  iovec part = PartOf(bytes);

  EXPECT_THAT(socket_.Send({&part, 1}, {}, Deadline::In(kPatience), absl::Milliseconds(5)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("stopped reading")));
}

TEST_F(SocketSendTest, SendsNothingWhenThereIsNoRoomInTime) {
  size_t sent = 0;
  absl::Status status;
  // One byte each, which the kernel takes whole or not at all.
  for (std::vector<uint8_t> byte = {7}; status.ok(); ++sent) {
    iovec part = PartOf(byte);
    status = socket_.Send({&part, 1}, {}, Deadline::In(absl::Milliseconds(1)), kPatience);
  }
  --sent;
  ASSERT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("does not read")));
  socket_.Shutdown();

  size_t received = 0;
  while (true) {
    const auto chunk = peer_.ReceiveChunk(1 << 16);
    ASSERT_THAT(chunk, IsOk());
    if (chunk->bytes.empty()) break;
    received += chunk->bytes.size();
  }
  EXPECT_EQ(received, sent);
}

}  // namespace
}  // namespace vfio_user
