#include "proto_defs/transport/unique_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <type_traits>
#include <utility>

#include "gtest/gtest.h"
#include "tests/testing/fd_count.h"

namespace vfio_user {
namespace {

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_copy_assignable_v<UniqueFd>);
static_assert(!std::is_convertible_v<int, UniqueFd>);
static_assert(!std::is_convertible_v<int, FdView>);

int OpenNull() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFdTest, OwnsNothingAtFirst) {
  const UniqueFd none;

  EXPECT_FALSE(none.valid());
  EXPECT_EQ(none.get(), -1);
}

TEST(UniqueFdTest, ClosesWhatItOwns) {
  const int before = OpenFdCount();
  const int fd = OpenNull();
  {
    const UniqueFd owner(fd);
    EXPECT_TRUE(owner.valid());
    EXPECT_EQ(owner.get(), fd);
    EXPECT_TRUE(IsOpen(fd));
  }

  EXPECT_FALSE(IsOpen(fd));
  EXPECT_EQ(OpenFdCount(), before);
}

TEST(UniqueFdTest, MovingLeavesNothingBehind) {
  UniqueFd from(OpenNull());
  const int fd = from.get();

  const UniqueFd to(std::move(from));

  EXPECT_FALSE(from.valid());  // NOLINT(bugprone-use-after-move): this is what is tested.
  EXPECT_EQ(to.get(), fd);
  EXPECT_TRUE(IsOpen(fd));
}

TEST(UniqueFdTest, AssignmentClosesWhatWasOwnedBefore) {
  UniqueFd to(OpenNull());
  const int old = to.get();
  UniqueFd from(OpenNull());
  const int fd = from.get();

  to = std::move(from);

  EXPECT_FALSE(IsOpen(old));
  EXPECT_TRUE(IsOpen(fd));
  EXPECT_EQ(to.get(), fd);
  EXPECT_FALSE(from.valid());  // NOLINT(bugprone-use-after-move): this is what is tested.
}

TEST(UniqueFdTest, AssignmentToItselfKeepsTheDescriptor) {
  UniqueFd fd(OpenNull());
  UniqueFd& same = fd;

  fd = std::move(same);

  EXPECT_TRUE(IsOpen(fd.get()));
}

TEST(UniqueFdTest, ReleaseGivesTheDescriptorAway) {
  const int fd = OpenNull();
  UniqueFd owner(fd);

  EXPECT_EQ(owner.Release(), fd);

  EXPECT_FALSE(owner.valid());
  owner.Reset();
  EXPECT_TRUE(IsOpen(fd));
  ::close(fd);
}

TEST(UniqueFdTest, ResetClosesTheOldAndTakesTheNew) {
  UniqueFd owner(OpenNull());
  const int old = owner.get();
  const int fd = OpenNull();

  owner.Reset(fd);
  EXPECT_FALSE(IsOpen(old));
  EXPECT_EQ(owner.get(), fd);

  owner.Reset();
  EXPECT_FALSE(IsOpen(fd));
  EXPECT_FALSE(owner.valid());
}

TEST(FdViewTest, ClosesNothing) {
  const UniqueFd owner(OpenNull());
  {
    const FdView view = owner;
    EXPECT_EQ(view.get(), owner.get());
  }

  EXPECT_TRUE(IsOpen(owner.get()));
}

}  // namespace
}  // namespace vfio_user
