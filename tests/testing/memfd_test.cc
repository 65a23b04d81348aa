#include "tests/testing/memfd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(MemfdTest, HoldsItsContent) {
  const UniqueFd fd = Memfd("abc");

  EXPECT_EQ(ContentOf(fd), "abc");
  EXPECT_EQ(ContentOf(fd), "abc");
}

TEST(MemfdTest, IsSameFileTellsDuplicatesFromOthers) {
  const UniqueFd one = Memfd("abc");
  const UniqueFd duplicate(::dup(one.get()));
  const UniqueFd other = Memfd("abc");

  EXPECT_TRUE(IsSameFile(one, duplicate));
  EXPECT_FALSE(IsSameFile(one, other));
  EXPECT_FALSE(IsSameFile(one, FdView(-1)));
}

TEST(MemfdTest, IsSameFileTellsEventfdsApart) {
  const UniqueFd one(::eventfd(0, EFD_CLOEXEC));
  const UniqueFd duplicate(::dup(one.get()));
  const UniqueFd other(::eventfd(0, EFD_CLOEXEC));

  EXPECT_TRUE(IsSameFile(one, duplicate));
  EXPECT_FALSE(IsSameFile(one, other));
}

}  // namespace
}  // namespace vfio_user
