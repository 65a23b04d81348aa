#include "proto_defs/transport/socket_address.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace vfio_user {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(SocketAddressTest, HoldsThePath) {
  const auto address = SocketAddress::Of("/tmp/s");

  ASSERT_THAT(address, IsOk());
  EXPECT_EQ(address->path(), "/tmp/s");
  const auto* const raw = reinterpret_cast<const sockaddr_un*>(address->get());
  EXPECT_EQ(raw->sun_family, AF_UNIX);
  EXPECT_STREQ(raw->sun_path, "/tmp/s");
  EXPECT_EQ(address->length(), sizeof(sockaddr_un));
}

TEST(SocketAddressTest, TakesAPathOf107Bytes) {
  const std::string longest(107, 'p');

  const auto address = SocketAddress::Of(longest);

  ASSERT_THAT(address, IsOk());
  EXPECT_STREQ(reinterpret_cast<const sockaddr_un*>(address->get())->sun_path, longest.c_str());
}

TEST(SocketAddressTest, RejectsAPathOf108Bytes) {
  const std::string longer(108, 'p');

  EXPECT_THAT(SocketAddress::Of(longer),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("108 bytes"), HasSubstr("107"), HasSubstr(longer))));
}

TEST(SocketAddressTest, RejectsAnEmptyPath) {
  EXPECT_THAT(SocketAddress::Of(""), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(SocketAddressTest, RejectsAPathWithANul) {
  // At the front it would name an abstract socket, further on it would cut the path short.
  EXPECT_THAT(SocketAddress::Of(std::string("\0/tmp/s", 7)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NUL")));
  EXPECT_THAT(SocketAddress::Of(std::string("/tmp/s\0x", 8)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NUL")));
}

TEST(SocketAddressTest, ConnectErrorSaysWhatToDo) {
  const auto address = SocketAddress::Of("/tmp/s");
  ASSERT_THAT(address, IsOk());

  const absl::Status missing = address->ConnectError(ENOENT);

  EXPECT_THAT(missing, StatusIs(absl::StatusCode::kNotFound,
                                AllOf(HasSubstr("/tmp/s"), HasSubstr("start one"))));
  EXPECT_EQ(ErrnoOf(missing), ENOENT);
  EXPECT_THAT(address->ConnectError(EAGAIN), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(address->ConnectError(EACCES), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(address->ConnectError(ENOTDIR),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("check the path")));
  EXPECT_THAT(
      address->ConnectError(EPROTOTYPE),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("name the one that the server")));
}

TEST(SocketAddressTest, ConnectErrorTellsAFileFromADeadSocket) {
  const TempDir directory;
  std::ofstream(directory.File("f")) << "x";
  const auto file = SocketAddress::Of(directory.File("f"));
  ASSERT_THAT(file, IsOk());
  const auto absent = SocketAddress::Of(directory.File("absent"));
  ASSERT_THAT(absent, IsOk());

  EXPECT_THAT(file->ConnectError(ECONNREFUSED),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a socket")));
  EXPECT_THAT(absent->ConnectError(ECONNREFUSED), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace vfio_user
