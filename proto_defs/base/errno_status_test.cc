#include "proto_defs/base/errno_status.h"

#include <cerrno>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(ErrnoStatusTest, KeepsTheNumberAndSaysWhat) {
  const absl::Status status = ErrnoStatus(EEXIST, "DMA_MAP");

  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(status.message(), "DMA_MAP: File exists");
  EXPECT_EQ(ErrnoOf(status), EEXIST);
}

TEST(ErrnoStatusTest, TellsAddressesFromArguments) {
  EXPECT_EQ(ErrnoStatus(EFAULT, "x").code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ErrnoStatus(EINVAL, "x").code(), absl::StatusCode::kInvalidArgument);
}

TEST(ErrnoStatusTest, CallsALostPeerUnavailable) {
  EXPECT_EQ(ErrnoStatus(EPIPE, "x").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrnoStatus(ECONNRESET, "x").code(), absl::StatusCode::kUnavailable);
}

TEST(ErrnoOfTest, FallsBackToTheCode) {
  EXPECT_EQ(ErrnoOf(absl::OkStatus()), 0);
  EXPECT_EQ(ErrnoOf(absl::InvalidArgumentError("x")), EINVAL);
  EXPECT_EQ(ErrnoOf(absl::AlreadyExistsError("x")), EEXIST);
  EXPECT_EQ(ErrnoOf(absl::InternalError("x")), EIO);
}

TEST(AnnotateTest, PrependsTheContextAndKeepsTheErrno) {
  const absl::Status status = Annotate(ErrnoStatus(ENOTTY, "ioctl"), "opening");

  EXPECT_EQ(status.message(), "opening: ioctl: Inappropriate ioctl for device");
  EXPECT_EQ(ErrnoOf(status), ENOTTY);
}

TEST(AnnotateTest, LeavesOkAlone) { EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok()); }

TEST(WithCodeTest, ChangesTheCodeAndKeepsMessageAndErrno) {
  const absl::Status status =
      WithCode(ErrnoStatus(EBUSY, "VERSION"), absl::StatusCode::kUnavailable);

  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "VERSION: Device or resource busy");
  EXPECT_EQ(ErrnoOf(status), EBUSY);
}

TEST(WithCodeTest, AddsNoErrnoWhereThereWasNone) {
  EXPECT_EQ(ErrnoOf(WithCode(absl::InternalError("x"), absl::StatusCode::kNotFound)), ENOENT);
}

}  // namespace
}  // namespace vfio_user
