#include "tests/testing/server_process.h"

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tools/vfio_user/child_process.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

TEST(ServerProcessTest, ListensUntilItIsStopped) {
  absl::StatusOr<ChildServer> server = StartServer("null");
  ASSERT_THAT(server, IsOk());
  EXPECT_TRUE(std::filesystem::is_socket(server->socket_path()));

  EXPECT_THAT(server->Stop(), IsOk());

  EXPECT_FALSE(std::filesystem::exists(server->socket_path()));
}

TEST(ServerProcessTest, LeavesNothingWhenItIsDropped) {
  std::string path;
  pid_t pid = -1;
  {
    absl::StatusOr<ChildServer> server = StartServer("null");
    ASSERT_THAT(server, IsOk());
    path = server->socket_path();
    pid = server->process().pid();
  }

  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(path).parent_path()));
}

TEST(ServerProcessTest, SaysWhyAServerDidNotStart) {
  EXPECT_THAT(StartServer("toaster"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no device is called")));
}

TEST(ServerProcessTest, SaysThatAServerWasKilled) {
  absl::StatusOr<ChildServer> server = StartServer("null");
  ASSERT_THAT(server, IsOk());
  server->process().Signal(SIGKILL);

  EXPECT_THAT(server->Stop(), StatusIs(absl::StatusCode::kInternal, HasSubstr("137")));
}

TEST(FdsNamingTest, CountsByTheEndOfTheName) {
  EXPECT_GE(FdsNaming(::getpid(), ""), 3);
  EXPECT_EQ(FdsNaming(::getpid(), "/no/such/file"), 0);
  EXPECT_EQ(FdsNaming(-1, ""), -1);
}

}  // namespace
}  // namespace vfio_user
