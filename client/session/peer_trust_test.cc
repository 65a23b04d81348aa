#include "client/session/peer_trust.h"

#include <sys/types.h>

#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/socket.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

PeerCredentials ServerOf(uid_t uid) { return {.pid = 1, .uid = uid, .gid = uid}; }

TEST(PeerTrustTest, AServerOfTheSameUserIsTrusted) {
  EXPECT_THAT(CheckMayLendMemory(ServerOf(1000), 1000, {}), IsOk());
}

TEST(PeerTrustTest, AServerOfRootIsTrusted) {
  EXPECT_THAT(CheckMayLendMemory(ServerOf(0), 1000, {}), IsOk());
}

TEST(PeerTrustTest, AServerOfAnotherUserIsRefusedInWordsThatSayWhatToDo) {
  EXPECT_THAT(
      CheckMayLendMemory(ServerOf(1001), 1000, {}),
      StatusIs(absl::StatusCode::kPermissionDenied,
               AllOf(HasSubstr("server of user 1001"), HasSubstr("ClientOptions::trusted_uids"),
                     HasSubstr("DmaPath::kMessage"))));
}

TEST(PeerTrustTest, RootDoesNotTrustEverybody) {
  EXPECT_THAT(CheckMayLendMemory(ServerOf(1001), 0, {}),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(PeerTrustTest, AServerOfAListedUserIsTrusted) {
  const std::array<uid_t, 2> trusted = {1001, 1002};

  EXPECT_THAT(CheckMayLendMemory(ServerOf(1002), 1000, trusted), IsOk());
}

TEST(PeerTrustTest, TwoUsersWithoutANameAreNotTakenForTheSame) {
  EXPECT_THAT(CheckMayLendMemory(ServerOf(65534), 65534, {}),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(PeerTrustTest, ThisProcessIsTrustedOverARealSocket) {
  const absl::StatusOr<std::pair<Socket, Socket>> pair = Socket::Pair();
  ASSERT_THAT(pair, IsOk());

  EXPECT_THAT(CheckMayLendMemory(pair->first, {}), IsOk());
}

}  // namespace
}  // namespace vfio_user
