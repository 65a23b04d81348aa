#include "tests/testing/status_matchers.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

using testing::Gt;
using testing::HasSubstr;
using testing::Not;
using testing::Pointee;

TEST(StatusMatchersTest, IsOkTellsOkFromErrors) {
  EXPECT_THAT(absl::OkStatus(), IsOk());
  EXPECT_THAT(absl::StatusOr<int>(7), IsOk());
  EXPECT_THAT(absl::NotFoundError("x"), Not(IsOk()));
  EXPECT_THAT(absl::StatusOr<int>(absl::NotFoundError("x")), Not(IsOk()));
}

TEST(StatusMatchersTest, StatusIsLooksAtCodeAndMessage) {
  const absl::Status status = absl::NotFoundError("no such region");

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound, "no such region"));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound, HasSubstr("region")));
  EXPECT_THAT(status, Not(StatusIs(absl::StatusCode::kNotFound, "region")));
  EXPECT_THAT(status, Not(StatusIs(absl::StatusCode::kInternal)));
  EXPECT_THAT(status, Not(StatusIs(absl::StatusCode::kOk)));
}

TEST(StatusMatchersTest, StatusIsTakesAStatusOr) {
  EXPECT_THAT(absl::StatusOr<int>(absl::NotFoundError("x")),
              StatusIs(absl::StatusCode::kNotFound, "x"));
  EXPECT_THAT(absl::StatusOr<int>(7), StatusIs(absl::StatusCode::kOk));
}

TEST(StatusMatchersTest, IsOkAndHoldsLooksAtTheValue) {
  const absl::StatusOr<int> seven = 7;

  EXPECT_THAT(seven, IsOkAndHolds(7));
  EXPECT_THAT(seven, IsOkAndHolds(Gt(6)));
  EXPECT_THAT(seven, Not(IsOkAndHolds(8)));
  EXPECT_THAT(absl::StatusOr<int>(absl::NotFoundError("x")), Not(IsOkAndHolds(7)));
}

TEST(StatusMatchersTest, IsOkAndHoldsTakesValuesThatCannotBeCopied) {
  const absl::StatusOr<std::unique_ptr<int>> seven = std::make_unique<int>(7);

  EXPECT_THAT(seven, IsOkAndHolds(Pointee(7)));
}

TEST(StatusMatchersTest, ExplainsWithTheStatus) {
  testing::StringMatchResultListener listener;

  EXPECT_FALSE(testing::ExplainMatchResult(IsOk(), absl::NotFoundError("gone"), &listener));
  EXPECT_THAT(listener.str(), HasSubstr("gone"));
}

}  // namespace
}  // namespace vfio_user
