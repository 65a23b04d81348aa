#include "proto_defs/transport/socket.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/bound_socket.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);
Deadline Soon() { return Deadline::In(absl::Seconds(20)); }
Deadline AtOnce() { return Deadline::In(absl::ZeroDuration()); }

iovec PartOf(std::span<uint8_t> bytes) {
  return {.iov_base = bytes.data(), .iov_len = bytes.size()};
}

// Bytes that differ from their neighbours, in a period that no power of two divides.
std::vector<uint8_t> Pattern(size_t count) {
  std::vector<uint8_t> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i % 251);
  return bytes;
}

// A socket, and a peer at its other end.
class SocketTest : public testing::Test {
 protected:
  SocketTest() : SocketTest(ScriptedPeer::Pair()) {}
  explicit SocketTest(absl::StatusOr<ScriptedPeer::Connected> pair)
      : peer_(std::move(pair->peer)), socket_(*Socket::Adopt(std::move(pair->socket))) {}

  void LimitSendBuffer() {
    const int bytes = 4096;
    ASSERT_EQ(::setsockopt(socket_.fd().get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
  }

  ScriptedPeer peer_;
  Socket socket_;
};

TEST_F(SocketTest, AdoptRefusesWhatIsNoConnectedUnixStream) {
  const int before = OpenFdCount();

  EXPECT_THAT(Socket::Adopt(UniqueFd()), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Socket::Adopt(Memfd("x")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Socket::Adopt(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("UNIX stream")));
  EXPECT_THAT(Socket::Adopt(UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("UNIX stream")));
  EXPECT_THAT(Socket::Adopt(UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not connected")));

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(SocketTest, AdoptMakesTheDescriptorCloseOnExec) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  const UniqueFd other(fds[1]);

  const auto socket = Socket::Adopt(UniqueFd(fds[0]));

  ASSERT_THAT(socket, IsOk());
  EXPECT_EQ(::fcntl(socket->fd().get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(SocketTest, ConnectReachesWhoListens) {
  const TempDir directory;
  const UniqueFd listening = ListeningSocket(directory.File("s"));

  auto socket = Socket::Connect(directory.File("s"), Soon());

  ASSERT_THAT(socket, IsOk());
  ScriptedPeer server(UniqueFd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  ASSERT_THAT(server.SendBytes({{1, 2, 3}}), IsOk());
  std::vector<uint8_t> bytes(3);
  iovec part = PartOf(bytes);
  EXPECT_THAT(socket->ReceiveAll({&part, 1}, Soon()), IsOk());
  EXPECT_THAT(bytes, ElementsAre(1, 2, 3));
}

TEST_F(SocketTest, ConnectSaysWhyNot) {
  const TempDir directory;
  const int before = OpenFdCount();
  BoundSocket(directory.File("dead"));
  ASSERT_EQ(::close(::open(directory.File("file").c_str(), O_CREAT | O_CLOEXEC, 0600)), 0);
  const auto connect = [](const std::string& path) {
    return Socket::Connect(path, Soon()).status();
  };

  EXPECT_THAT(connect(directory.File("absent")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(connect(directory.File("dead")), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(connect(directory.File("file")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(connect(directory.path()), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(connect(directory.File("file/s")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(connect(std::string(108, 'p')), StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(SocketTest, ConnectGivesUpOnAServerThatDoesNotAccept) {
  const TempDir directory;
  const UniqueFd listening = ListeningSocket(directory.File("s"), 0);
  const UniqueFd in_the_queue = ConnectedSocket(directory.File("s"));
  ASSERT_TRUE(in_the_queue.valid());
  const int before = OpenFdCount();

  EXPECT_THAT(Socket::Connect(directory.File("s"), Deadline::In(absl::Milliseconds(5))),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("accept")));
  EXPECT_THAT(Socket::Connect(directory.File("s"), AtOnce()),
              StatusIs(absl::StatusCode::kDeadlineExceeded));

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(SocketTest, SendsPartsInOneMessage) {
  std::vector<uint8_t> first = {1, 2};
  std::vector<uint8_t> none;
  std::vector<uint8_t> second = {3};
  std::vector<iovec> parts = {PartOf(first), PartOf(none), PartOf(second)};

  ASSERT_THAT(socket_.Send(parts, {}, Soon(), kPatience), IsOk());

  const auto chunk = peer_.ReceiveChunk(100);
  ASSERT_THAT(chunk, IsOk());
  EXPECT_THAT(chunk->bytes, ElementsAre(1, 2, 3));
}

TEST_F(SocketTest, SendsMoreThanTheBufferHolds) {
  LimitSendBuffer();
  const std::vector<uint8_t> sent = Pattern(3'000'000);
  std::vector<uint8_t> received;
  std::thread reader([&] {
    while (received.size() < sent.size()) {
      const auto chunk = peer_.ReceiveChunk(10'007);
      if (!chunk.ok() || chunk->bytes.empty()) return;
      received.insert(received.end(), chunk->bytes.begin(), chunk->bytes.end());
    }
  });
  std::vector<uint8_t> bytes = sent;
  std::vector<iovec> parts = {PartOf(std::span(bytes).first(1)),
                              PartOf(std::span(bytes).subspan(1, 1'234'567)),
                              PartOf(std::span(bytes).subspan(1'234'568))};

  EXPECT_THAT(socket_.Send(parts, {}, Soon(), kPatience), IsOk());

  reader.join();
  EXPECT_TRUE(received == sent) << received.size();
}

TEST_F(SocketTest, SendsAndReceivesMorePartsThanTheKernelTakesAtOnce) {
  auto pair = Socket::Pair();
  ASSERT_THAT(pair, IsOk());
  std::vector<uint8_t> bytes = Pattern(3 * 3000);
  std::vector<uint8_t> received(bytes.size());
  std::vector<iovec> from;
  std::vector<iovec> to;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    from.push_back(PartOf(std::span(bytes).subspan(i, 3)));
    to.push_back(PartOf(std::span(received).subspan(i, 3)));
  }

  ASSERT_THAT(pair->first.Send(from, {}, Soon(), kPatience), IsOk());
  ASSERT_THAT(pair->second.ReceiveAll(to, Soon()), IsOk());

  EXPECT_EQ(received, bytes);
}

TEST_F(SocketTest, SendToAClosedPeerIsUnavailable) {
  peer_.Close();
  std::vector<uint8_t> bytes = {1};
  iovec part = PartOf(bytes);

  EXPECT_THAT(socket_.Send({&part, 1}, {}, Soon(), kPatience),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SocketTest, SendToAPeerThatClosesMeanwhileIsUnavailable) {
  std::thread closer([this] {
    (void)peer_.ReceiveChunk(1);
    peer_.Close();
  });
  std::vector<uint8_t> bytes(8 << 20);
  iovec part = PartOf(bytes);

  EXPECT_THAT(socket_.Send({&part, 1}, {}, Soon(), kPatience),
              StatusIs(absl::StatusCode::kUnavailable));

  closer.join();
}

TEST_F(SocketTest, ReceiveTakesWhatIsThere) {
  ASSERT_THAT(peer_.SendBytes({{1, 2, 3}}), IsOk());
  std::vector<uint8_t> bytes(100);

  const auto received = socket_.Receive(bytes, AtOnce());

  ASSERT_THAT(received, IsOk());
  EXPECT_EQ(received->bytes, 3u);
  bytes.resize(3);
  EXPECT_THAT(bytes, ElementsAre(1, 2, 3));
}

TEST_F(SocketTest, ReceiveTakesNoMoreThanFits) {
  ASSERT_THAT(peer_.SendBytes({{1, 2, 3}}), IsOk());
  std::vector<uint8_t> bytes(2);

  const auto first = socket_.Receive(bytes, AtOnce());
  EXPECT_THAT(bytes, ElementsAre(1, 2));
  const auto second = socket_.Receive(bytes, AtOnce());

  ASSERT_THAT(first, IsOk());
  EXPECT_EQ(first->bytes, 2u);
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->bytes, 1u);
  EXPECT_EQ(bytes[0], 3);
}

TEST_F(SocketTest, ReceiveGivesUpWhenNothingComes) {
  std::vector<uint8_t> bytes(1);
  iovec part = PartOf(bytes);

  EXPECT_THAT(socket_.Receive(bytes, AtOnce()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(socket_.Receive(bytes, Deadline::In(absl::Milliseconds(5))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(socket_.ReceiveAll({&part, 1}, Deadline::In(absl::Milliseconds(5))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(socket_.WaitReadable(Deadline::In(absl::Milliseconds(5))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(SocketTest, ReceiveSaysNothingWhenThePeerHasClosed) {
  peer_.Close();
  std::vector<uint8_t> bytes(1);

  EXPECT_THAT(socket_.WaitReadable(AtOnce()), IsOk());
  const auto received = socket_.Receive(bytes, AtOnce());

  ASSERT_THAT(received, IsOk());
  EXPECT_EQ(received->bytes, 0u);
}

TEST_F(SocketTest, ReceiveIsUnavailableWhenThePeerClosedWithoutReading) {
  std::vector<uint8_t> bytes(1);
  iovec part = PartOf(bytes);
  ASSERT_THAT(socket_.Send({&part, 1}, {}, Soon(), kPatience), IsOk());
  peer_.Close();

  EXPECT_THAT(socket_.Receive(bytes, Soon()), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SocketTest, ReceiveAllWaitsForTheLastByte) {
  std::vector<uint8_t> first(3);
  std::vector<uint8_t> none;
  std::vector<uint8_t> second(400'000);
  const std::vector<uint8_t> sent = Pattern(400'003);
  std::thread sender([&] {
    for (size_t i = 0; i < sent.size(); i += 7'919) {
      const auto rest = std::span(sent).subspan(i);
      if (!peer_.SendBytes(rest.first(std::min<size_t>(rest.size(), 7'919))).ok()) return;
    }
  });
  std::vector<iovec> parts = {PartOf(none), PartOf(first), PartOf(none), PartOf(second)};

  EXPECT_THAT(socket_.ReceiveAll(parts, Soon()), IsOk());

  sender.join();
  EXPECT_THAT(first, ElementsAre(0, 1, 2));
  EXPECT_TRUE(std::equal(second.begin(), second.end(), sent.begin() + 3, sent.end()));
}

TEST_F(SocketTest, ReceiveAllLeavesWhatComesAfter) {
  ASSERT_THAT(peer_.SendBytes({{1, 2, 3, 4}}), IsOk());
  std::vector<uint8_t> bytes(2);
  iovec part = PartOf(bytes);

  ASSERT_THAT(socket_.ReceiveAll({&part, 1}, AtOnce()), IsOk());
  EXPECT_THAT(bytes, ElementsAre(1, 2));
  part = PartOf(bytes);
  ASSERT_THAT(socket_.ReceiveAll({&part, 1}, AtOnce()), IsOk());
  EXPECT_THAT(bytes, ElementsAre(3, 4));
}

TEST_F(SocketTest, ReceiveAllOfNothingReadsNothing) {
  std::vector<uint8_t> none;
  iovec part = PartOf(none);

  EXPECT_THAT(socket_.ReceiveAll({&part, 1}, AtOnce()), IsOk());
  EXPECT_THAT(socket_.ReceiveAll({}, AtOnce()), IsOk());
}

TEST_F(SocketTest, ReceiveAllIsUnavailableWhenThePeerClosesBeforeTheEnd) {
  ASSERT_THAT(peer_.SendBytes({{1}}), IsOk());
  peer_.Close();
  std::vector<uint8_t> bytes(2);
  iovec part = PartOf(bytes);

  EXPECT_THAT(socket_.ReceiveAll({&part, 1}, Soon()), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SocketTest, ShutdownWakesWhoReceives) {
  absl::Status status;
  std::vector<uint8_t> bytes(1);
  iovec part = PartOf(bytes);
  std::thread receiver([&] { status = socket_.ReceiveAll({&part, 1}, Soon()); });

  socket_.Shutdown();

  receiver.join();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(peer_.ReceiveEof(), IsOk());
}

TEST_F(SocketTest, ShutdownWakesWhoSends) {
  absl::Status status;
  std::vector<uint8_t> bytes(8 << 20);
  iovec part = PartOf(bytes);
  std::thread sender([&] { status = socket_.Send({&part, 1}, {}, Soon(), kPatience); });
  ASSERT_THAT(peer_.ReceiveChunk(1), IsOk());

  socket_.Shutdown();

  sender.join();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
}

std::atomic<int> signals_seen = 0;

TEST_F(SocketTest, SignalsEndNoCall) {
  struct sigaction action = {};
  struct sigaction old = {};
  action.sa_handler = [](int) { ++signals_seen; };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &old), 0);
  const absl::Cleanup restore = [&old] { ::sigaction(SIGUSR1, &old, nullptr); };
  absl::Status status;
  std::vector<uint8_t> bytes(2);
  iovec part = PartOf(bytes);
  std::thread receiver([&] { status = socket_.ReceiveAll({&part, 1}, Soon()); });

  signals_seen = 0;
  while (signals_seen < 20) ::pthread_kill(receiver.native_handle(), SIGUSR1);
  ASSERT_THAT(peer_.SendBytes({{1, 2}}), IsOk());
  receiver.join();

  EXPECT_THAT(status, IsOk());
  EXPECT_THAT(bytes, ElementsAre(1, 2));
}

TEST_F(SocketTest, PeerCredentialsAreThoseOfWhoConnected) {
  const auto credentials = socket_.GetPeerCredentials();

  ASSERT_THAT(credentials, IsOk());
  EXPECT_EQ(credentials->pid, ::getpid());
  EXPECT_EQ(credentials->uid, ::getuid());
  EXPECT_EQ(credentials->gid, ::getgid());
}

}  // namespace
}  // namespace vfio_user
