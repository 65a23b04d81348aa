// Descriptors on a Socket: socket_test.cc has the bytes.
#include <fcntl.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
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
#include "tests/testing/fd_count.h"
#include "tests/testing/fd_limit.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr absl::Duration kPatience = absl::Seconds(20);
Deadline Soon() { return Deadline::In(absl::Seconds(20)); }

iovec PartOf(std::span<uint8_t> bytes) {
  return {.iov_base = bytes.data(), .iov_len = bytes.size()};
}

// A socket, a peer at its other end, and a file to pass. Whatever a test does, there are as many
// descriptors after it as before.
class SocketFdsTest : public testing::Test {
 protected:
  SocketFdsTest() : SocketFdsTest(ScriptedPeer::Pair()) {}
  explicit SocketFdsTest(absl::StatusOr<ScriptedPeer::Connected> pair)
      : peer_(std::move(pair->peer)),
        socket_(*Socket::Adopt(std::move(pair->socket))),
        file_(Memfd("abc")),
        before_(OpenFdCount()) {}

  void TearDown() override { EXPECT_EQ(OpenFdCount(), before_); }

  std::vector<FdView> Files(size_t count) const { return std::vector<FdView>(count, file_); }

  // What Receive says when this process can open `more` descriptors. To be judged afterwards: the
  // sanitizers need descriptors themselves.
  absl::Status ReceiveWithFewDescriptors(int more) {
    std::vector<uint8_t> bytes(100);
    const ScopedFdLimit limit(more);
    return socket_.Receive(bytes, Soon()).status();
  }

  ScriptedPeer peer_;
  Socket socket_;
  UniqueFd file_;
  std::vector<uint8_t> bytes_ = {1, 2, 3};
  iovec part_ = PartOf(bytes_);
  int before_;
};

TEST_F(SocketFdsTest, SendsDescriptorsWithTheFirstByte) {
  ASSERT_THAT(socket_.Send({&part_, 1}, Files(2), Soon(), kPatience), IsOk());

  const auto first = peer_.ReceiveChunk(1);
  const auto rest = peer_.ReceiveChunk(100);

  ASSERT_THAT(first, IsOk());
  EXPECT_THAT(first->bytes, ElementsAre(1));
  ASSERT_THAT(first->fds, SizeIs(2));
  EXPECT_TRUE(IsSameFile(first->fds[0], file_));
  EXPECT_TRUE(IsSameFile(first->fds[1], file_));
  ASSERT_THAT(rest, IsOk());
  EXPECT_THAT(rest->bytes, ElementsAre(2, 3));
  EXPECT_THAT(rest->fds, IsEmpty());
}

TEST_F(SocketFdsTest, SendsDescriptorsOnceWhenTheBytesGoInPieces) {
  const int small = 4096;
  ASSERT_EQ(::setsockopt(socket_.fd().get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
  std::vector<uint8_t> bytes(500'000);
  std::vector<size_t> fds_per_chunk;
  size_t received = 0;
  std::thread reader([&] {
    while (received < bytes.size()) {
      const auto chunk = peer_.ReceiveChunk(100'000);
      if (!chunk.ok() || chunk->bytes.empty()) return;
      received += chunk->bytes.size();
      fds_per_chunk.push_back(chunk->fds.size());
    }
  });
  iovec part = PartOf(bytes);

  EXPECT_THAT(socket_.Send({&part, 1}, Files(2), Soon(), kPatience), IsOk());

  reader.join();
  ASSERT_THAT(fds_per_chunk, SizeIs(testing::Gt(2u)));
  EXPECT_EQ(fds_per_chunk[0], 2u);
  fds_per_chunk.erase(fds_per_chunk.begin());
  EXPECT_THAT(fds_per_chunk, testing::Each(0u));
}

TEST_F(SocketFdsTest, SendsAsManyDescriptorsAsTheKernelTakes) {
  ASSERT_THAT(socket_.Send({&part_, 1}, Files(253), Soon(), kPatience), IsOk());

  const auto chunk = peer_.ReceiveChunk(100);

  ASSERT_THAT(chunk, IsOk());
  EXPECT_THAT(chunk->fds, SizeIs(253));
}

TEST_F(SocketFdsTest, RefusesMoreAndSendsNothing) {
  EXPECT_THAT(socket_.Send({&part_, 1}, Files(254), Soon(), kPatience),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("254")));

  socket_.Shutdown();
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(SocketFdsTest, RefusesADescriptorThatIsNotOpenAndSendsNothing) {
  const std::vector<FdView> fds = {file_, FdView(-1)};

  EXPECT_THAT(socket_.Send({&part_, 1}, fds, Soon(), kPatience),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("descriptor")));

  socket_.Shutdown();
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(SocketFdsTest, ReceivesDescriptorsThatAreCloseOnExec) {
  ASSERT_THAT(peer_.SendBytes(bytes_, Files(2)), IsOk());
  std::vector<uint8_t> bytes(100);

  const auto received = socket_.Receive(bytes, Soon());

  ASSERT_THAT(received, IsOk());
  EXPECT_EQ(received->bytes, 3u);
  ASSERT_THAT(received->fds, SizeIs(2));
  for (const UniqueFd& fd : received->fds) {
    EXPECT_TRUE(IsSameFile(fd, file_));
    EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  }
}

TEST_F(SocketFdsTest, ReceivesAsManyDescriptorsAsTheKernelPasses) {
  ASSERT_THAT(peer_.SendBytes(bytes_, Files(253)), IsOk());
  std::vector<uint8_t> bytes(100);

  const auto received = socket_.Receive(bytes, Soon());

  ASSERT_THAT(received, IsOk());
  EXPECT_THAT(received->fds, SizeIs(253));
}

TEST_F(SocketFdsTest, ReceiveIsDataLossWhenNoDescriptorIsLeft) {
  ASSERT_THAT(peer_.SendBytes(bytes_, Files(3)), IsOk());

  const absl::Status status = ReceiveWithFewDescriptors(0);

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("descriptors")));
}

TEST_F(SocketFdsTest, ReceiveKeepsNothingWhenTooFewDescriptorsAreLeft) {
  ASSERT_THAT(peer_.SendBytes(bytes_, Files(3)), IsOk());

  const absl::Status status = ReceiveWithFewDescriptors(2);

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("descriptors")));
}

TEST_F(SocketFdsTest, ReceiveAllRefusesDescriptorsInTheMiddle) {
  ASSERT_THAT(peer_.SendBytes({{1}}), IsOk());
  ASSERT_THAT(peer_.SendBytes({{2, 3}}, Files(3)), IsOk());

  EXPECT_THAT(socket_.ReceiveAll({&part_, 1}, Soon()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("descriptors")));
}

TEST_F(SocketFdsTest, DescriptorsThatNobodyReceivedGoWithTheSocket) {
  auto pair = ScriptedPeer::Pair();
  ASSERT_THAT(pair, IsOk());

  ASSERT_THAT(pair->peer.SendBytes(bytes_, Files(3)), IsOk());
}

// A peer may have asked for its credentials to be passed; that is no descriptor.
TEST_F(SocketFdsTest, ToleratesCredentialsOnASocketThatAsksForThem) {
  auto pair = ScriptedPeer::Pair();
  ASSERT_THAT(pair, IsOk());
  const int on = 1;
  ASSERT_EQ(::setsockopt(pair->socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
  auto socket = Socket::Adopt(std::move(pair->socket));
  ASSERT_THAT(socket, IsOk());
  ASSERT_THAT(pair->peer.SendBytes({{4, 5, 6}}, Files(253)), IsOk());
  ASSERT_THAT(pair->peer.SendBytes(bytes_), IsOk());
  std::vector<uint8_t> bytes(3);

  const auto received = socket->Receive(bytes, Soon());

  ASSERT_THAT(received, IsOk());
  EXPECT_THAT(received->fds, SizeIs(253));
  EXPECT_THAT(socket->ReceiveAll({&part_, 1}, Soon()), IsOk());
}

}  // namespace
}  // namespace vfio_user
