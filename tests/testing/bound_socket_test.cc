#include "tests/testing/bound_socket.h"

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/temp_dir.h"

namespace vfio_user {
namespace {

TEST(BoundSocketTest, TakesClientsOnlyWhenItListens) {
  const TempDir directory;

  const UniqueFd bound = BoundSocket(directory.File("bound"));
  const UniqueFd listening = ListeningSocket(directory.File("listening"));

  EXPECT_TRUE(bound.valid());
  EXPECT_TRUE(listening.valid());
  EXPECT_FALSE(ConnectedSocket(directory.File("bound")).valid());
  EXPECT_TRUE(ConnectedSocket(directory.File("listening")).valid());
}

TEST(BoundSocketTest, LeavesItsFile) {
  const TempDir directory;

  BoundSocket(directory.File("s"));

  EXPECT_TRUE(std::filesystem::is_socket(directory.File("s")));
}

TEST(BoundSocketTest, FillsItsQueue) {
  const TempDir directory;
  const UniqueFd listening = ListeningSocket(directory.File("s"), 0);

  const UniqueFd first = ConnectedSocket(directory.File("s"));
  const UniqueFd second = ConnectedSocket(directory.File("s"));

  EXPECT_TRUE(first.valid());
  EXPECT_FALSE(second.valid());
}

}  // namespace
}  // namespace vfio_user
