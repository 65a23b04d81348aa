#include "tests/testing/fd_limit.h"

#include <fcntl.h>

#include <cerrno>

#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {
namespace {

UniqueFd OpenNull() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

TEST(ScopedFdLimitTest, AllowsThatManyMore) {
  const ScopedFdLimit limit(2);

  const UniqueFd first = OpenNull();
  const UniqueFd second = OpenNull();
  EXPECT_TRUE(first.valid());
  EXPECT_TRUE(second.valid());

  const UniqueFd third = OpenNull();
  const int error = errno;
  EXPECT_FALSE(third.valid());
  EXPECT_EQ(error, EMFILE);
}

TEST(ScopedFdLimitTest, CountsHolesBelowTheHighestDescriptor) {
  UniqueFd hole = OpenNull();
  const UniqueFd above = OpenNull();
  hole.Reset();
  const ScopedFdLimit limit(1);

  const UniqueFd in_the_hole = OpenNull();
  EXPECT_TRUE(in_the_hole.valid());
  EXPECT_FALSE(OpenNull().valid());
}

TEST(ScopedFdLimitTest, EndsWithItsScope) {
  { const ScopedFdLimit limit(0); }

  EXPECT_TRUE(OpenNull().valid());
}

}  // namespace
}  // namespace vfio_user
