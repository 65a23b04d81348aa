#include "tools/vfio_user/exit_code.h"

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(ExitCodeTest, IsZeroForOk) { EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0); }

TEST(ExitCodeTest, IsOneForWhatThePeerSaid) {
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("gone")), 1);
}

TEST(ExitCodeTest, IsOneForAnInvalidArgumentOfThePeer) {
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("refused")), 1);
}

TEST(ExitCodeTest, IsTwoForTheCommandLine) { EXPECT_EQ(ExitCodeOf(UsageError("wrong")), 2); }

TEST(ReportToUserTest, WritesOneLineWhateverTheMessageHolds) {
  testing::internal::CaptureStderr();

  const int code = ReportToUser(absl::AbortedError("two\nlines \x1b[31m"));

  EXPECT_EQ(testing::internal::GetCapturedStderr(), "vfio-user: two?lines ?[31m\n");
  EXPECT_EQ(code, 1);
}

TEST(ReportToUserTest, SaysNothingForOk) {
  testing::internal::CaptureStderr();

  EXPECT_EQ(ReportToUser(absl::OkStatus()), 0);

  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace vfio_user
