#include "proto_defs/transport/spin.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/deadline.h"

namespace vfio_user {
namespace {

TEST(SpinTest, IsOverAtOnceWhenItIsNotWanted) {
  Spin spin(Deadline::Past());

  EXPECT_FALSE(spin.on());
  EXPECT_FALSE(spin.Again());
}

TEST(SpinTest, GoesOnUntilItsTimeIsOver) {
  const Deadline until = Deadline::In(absl::Milliseconds(2));
  Spin spin(until);
  int attempts = 0;

  while (spin.Again()) ++attempts;

  EXPECT_TRUE(until.passed());
  EXPECT_GT(attempts, 0);
  EXPECT_FALSE(spin.on());
}

TEST(SpinTest, GoesOnForEverWithoutAnEnd) {
  Spin spin(Deadline::Never());

  for (int i = 0; i < 100; ++i) ASSERT_TRUE(spin.Again());
}

}  // namespace
}  // namespace vfio_user
