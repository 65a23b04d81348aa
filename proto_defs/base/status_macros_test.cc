#include "proto_defs/base/status_macros.h"

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

absl::Status ReturnIfError(const absl::Status& status) {
  VFIO_USER_RETURN_IF_ERROR(status);
  return absl::AlreadyExistsError("went on");
}

absl::StatusOr<std::unique_ptr<int>> Pass(absl::StatusOr<std::unique_ptr<int>> value) {
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<int> first, std::move(value));
  return first;
}

TEST(StatusMacrosTest, ReturnIfErrorReturnsTheError) {
  EXPECT_EQ(ReturnIfError(absl::NotFoundError("x")), absl::NotFoundError("x"));
}

TEST(StatusMacrosTest, ReturnIfErrorGoesOnWhenOk) {
  EXPECT_EQ(ReturnIfError(absl::OkStatus()).code(), absl::StatusCode::kAlreadyExists);
}

TEST(StatusMacrosTest, AssignOrReturnMovesTheValue) {
  const auto result = Pass(std::make_unique<int>(7));

  ASSERT_TRUE(result.ok());
  EXPECT_EQ(**result, 7);
}

TEST(StatusMacrosTest, AssignOrReturnReturnsTheError) {
  EXPECT_EQ(Pass(absl::NotFoundError("x")).status(), absl::NotFoundError("x"));
}

}  // namespace
}  // namespace vfio_user
