#include "proto_defs/transport/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/bound_socket.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/fd_limit.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace vfio_user {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

// Sets the umask, and sets it back.
class ScopedUmask {
 public:
  explicit ScopedUmask(mode_t mask) : old_(::umask(mask)) {}
  ~ScopedUmask() { ::umask(old_); }

 private:
  mode_t old_;
};

mode_t PermissionsOf(const std::string& path) {
  struct stat file = {};
  EXPECT_EQ(::lstat(path.c_str(), &file), 0);
  return file.st_mode & 07777;
}

ino_t InodeOf(const std::string& path) {
  struct stat file = {};
  EXPECT_EQ(::lstat(path.c_str(), &file), 0);
  return file.st_ino;
}

bool Exists(const std::string& path) {
  return std::filesystem::exists(std::filesystem::symlink_status(path));
}

class ListenerTest : public testing::Test {
 protected:
  TempDir directory_;
  std::string path_ = directory_.File("s");
};

TEST_F(ListenerTest, AcceptsClientsInTheirOrder) {
  auto listener = Listener::Bind(path_);
  ASSERT_THAT(listener, IsOk());
  EXPECT_EQ(listener->path(), path_);
  const UniqueFd first = ConnectedSocket(path_);
  const UniqueFd second = ConnectedSocket(path_);
  ASSERT_EQ(::send(first.get(), "1", 1, 0), 1);
  ASSERT_EQ(::send(second.get(), "2", 1, 0), 1);

  for (const char want : {'1', '2'}) {
    auto client = listener->Accept();
    ASSERT_THAT(client, IsOk());
    ASSERT_TRUE(client->has_value());
    EXPECT_EQ(::fcntl((*client)->fd().get(), F_GETFD), FD_CLOEXEC);
    char got = 0;
    EXPECT_EQ(::recv((*client)->fd().get(), &got, 1, 0), 1);
    EXPECT_EQ(got, want);
  }
}

TEST_F(ListenerTest, AcceptDoesNotWait) {
  auto listener = Listener::Bind(path_);
  ASSERT_THAT(listener, IsOk());

  const auto client = listener->Accept();

  ASSERT_THAT(client, IsOk());
  EXPECT_FALSE(client->has_value());
}

TEST_F(ListenerTest, IsReadableWhenAClientWaits) {
  auto listener = Listener::Bind(path_);
  ASSERT_THAT(listener, IsOk());
  pollfd entry = {.fd = listener->fd().get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0);

  const UniqueFd client = ConnectedSocket(path_);

  EXPECT_EQ(::poll(&entry, 1, 0), 1);
}

TEST_F(ListenerTest, AcceptLetsAClientWaitWhenNoDescriptorIsLeft) {
  auto listener = Listener::Bind(path_);
  ASSERT_THAT(listener, IsOk());
  const UniqueFd client = ConnectedSocket(path_);
  absl::Status refused;
  {
    const ScopedFdLimit limit(0);
    refused = listener->Accept().status();
  }
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));

  const auto accepted = listener->Accept();
  ASSERT_THAT(accepted, IsOk());
  EXPECT_TRUE(accepted->has_value());
}

TEST_F(ListenerTest, ReplacesASocketThatNobodyListensOn) {
  BoundSocket(path_);
  ASSERT_TRUE(Exists(path_));

  const auto listener = Listener::Bind(path_);

  ASSERT_THAT(listener, IsOk());
  EXPECT_TRUE(ConnectedSocket(path_).valid());
}

TEST_F(ListenerTest, LeavesALiveSocketAlone) {
  auto live = Listener::Bind(path_);
  ASSERT_THAT(live, IsOk());
  const int before = OpenFdCount();

  EXPECT_THAT(Listener::Bind(path_),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("another server")));

  EXPECT_EQ(OpenFdCount(), before);
  EXPECT_TRUE(ConnectedSocket(path_).valid());
}

TEST_F(ListenerTest, LeavesALiveSocketWithAFullQueueAlone) {
  const UniqueFd live = ListeningSocket(path_, 0);
  const UniqueFd in_the_queue = ConnectedSocket(path_);
  const ino_t inode = InodeOf(path_);

  EXPECT_THAT(Listener::Bind(path_), StatusIs(absl::StatusCode::kAlreadyExists));

  EXPECT_EQ(InodeOf(path_), inode);
}

TEST_F(ListenerTest, LeavesASocketOfAnotherKindAlone) {
  const UniqueFd live = BoundSocket(path_, SOCK_DGRAM);
  const ino_t inode = InodeOf(path_);

  EXPECT_THAT(Listener::Bind(path_), StatusIs(absl::StatusCode::kAlreadyExists));

  EXPECT_EQ(InodeOf(path_), inode);
}

TEST_F(ListenerTest, LeavesAFileAlone) {
  std::ofstream(path_) << "precious";

  EXPECT_THAT(Listener::Bind(path_),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("not a socket")));

  std::stringstream content;
  content << std::ifstream(path_).rdbuf();
  EXPECT_EQ(content.str(), "precious");
}

TEST_F(ListenerTest, LeavesADirectoryAlone) {
  std::filesystem::create_directory(path_);

  EXPECT_THAT(Listener::Bind(path_), StatusIs(absl::StatusCode::kAlreadyExists));

  EXPECT_TRUE(std::filesystem::is_directory(path_));
}

TEST_F(ListenerTest, LeavesASymbolicLinkAlone) {
  BoundSocket(directory_.File("dead"));
  std::filesystem::create_symlink(directory_.File("dead"), path_);

  EXPECT_THAT(Listener::Bind(path_), StatusIs(absl::StatusCode::kAlreadyExists));

  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_TRUE(Exists(directory_.File("dead")));
}

TEST_F(ListenerTest, LetsOnlyItsUserConnect) {
  const ScopedUmask umask(0);

  const auto listener = Listener::Bind(path_);

  ASSERT_THAT(listener, IsOk());
  EXPECT_EQ(PermissionsOf(path_), 0600u);
}

TEST_F(ListenerTest, HasTheModeThatWasAskedForWhateverTheUmask) {
  const ScopedUmask umask(077);

  const auto listener = Listener::Bind(path_, 0666);

  ASSERT_THAT(listener, IsOk());
  EXPECT_EQ(PermissionsOf(path_), 0666u);
  EXPECT_EQ(::umask(077), 077u);
}

TEST_F(ListenerTest, RemovesItsFile) {
  { const auto listener = Listener::Bind(path_); }

  EXPECT_FALSE(Exists(path_));
}

TEST_F(ListenerTest, RemovesItsFileOnceWhenMoved) {
  std::optional<Listener> to;
  {
    auto from = Listener::Bind(path_);
    ASSERT_THAT(from, IsOk());
    to.emplace(*std::move(from));
  }
  EXPECT_TRUE(ConnectedSocket(path_).valid());

  to.reset();

  EXPECT_FALSE(Exists(path_));
}

TEST_F(ListenerTest, KeepsAFileThatTookItsPlace) {
  {
    const auto listener = Listener::Bind(path_);
    ASSERT_THAT(listener, IsOk());
    std::filesystem::remove(path_);
    std::ofstream(path_) << "another";
  }

  EXPECT_TRUE(std::filesystem::is_regular_file(path_));
}

TEST_F(ListenerTest, KeepsASocketThatTookItsPlace) {
  UniqueFd another;
  {
    const auto listener = Listener::Bind(path_);
    ASSERT_THAT(listener, IsOk());
    std::filesystem::remove(path_);
    another = ListeningSocket(path_);
    ASSERT_TRUE(another.valid());
  }

  EXPECT_TRUE(ConnectedSocket(path_).valid());
}

TEST_F(ListenerTest, RejectsAPathThatCannotBe) {
  const int before = OpenFdCount();

  EXPECT_THAT(Listener::Bind(""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Listener::Bind(std::string(108, 'p')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("108 bytes")));
  EXPECT_THAT(Listener::Bind(directory_.File("absent/s")), StatusIs(absl::StatusCode::kNotFound));
  std::ofstream(directory_.File("f")) << "x";
  EXPECT_THAT(Listener::Bind(directory_.File("f/s")), StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_EQ(OpenFdCount(), before);
}

// Without care the one takes the other's socket, bound and not listening yet, for a dead one.
TEST_F(ListenerTest, OneOfSeveralServersThatStartTogetherWins) {
  for (int round = 0; round < 100; ++round) {
    if (round % 2 == 0) BoundSocket(path_);
    std::atomic<int> ready = 0;
    std::vector<std::optional<Listener>> winners(4);
    std::vector<absl::Status> statuses(4);
    std::vector<std::thread> servers;
    for (size_t i = 0; i < 4; ++i) {
      servers.emplace_back([&, i] {
        ++ready;
        while (ready < 4) std::this_thread::yield();
        auto bound = Listener::Bind(path_);
        statuses[i] = bound.status();
        if (bound.ok()) winners[i].emplace(*std::move(bound));
      });
    }
    for (std::thread& server : servers) server.join();

    ASSERT_THAT(statuses, UnorderedElementsAre(IsOk(), StatusIs(absl::StatusCode::kAlreadyExists),
                                               StatusIs(absl::StatusCode::kAlreadyExists),
                                               StatusIs(absl::StatusCode::kAlreadyExists)))
        << "round " << round;
    ASSERT_TRUE(ConnectedSocket(path_).valid()) << "round " << round;
  }
}

TEST_F(ListenerTest, StartsInADirectoryThatIsLockedForGood) {
  const UniqueFd directory(::open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(directory.get(), LOCK_EX), 0);

  EXPECT_THAT(Listener::Bind(path_), IsOk());
}

}  // namespace
}  // namespace vfio_user
