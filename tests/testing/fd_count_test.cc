#include "tests/testing/fd_count.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(FdCountTest, GoesUpAndDownWithEveryDescriptor) {
  const int before = OpenFdCount();
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int with_one_more = OpenFdCount();
  ::close(fd);

  EXPECT_GE(before, 0);
  EXPECT_EQ(with_one_more, before + 1);
  EXPECT_EQ(OpenFdCount(), before);
}

TEST(FdCountTest, CountsForAnotherProcess) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  int done[2];
  ASSERT_EQ(::pipe2(done, O_CLOEXEC), 0);
  const int ours = OpenFdCount();
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ready[0]);
    ::close(done[1]);
    char byte = 0;
    (void)!::write(ready[1], &byte, 1);
    (void)!::read(done[0], &byte, 1);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);

  EXPECT_EQ(OpenFdCountOf(child), ours - 2);

  for (const int fd : {ready[0], ready[1], done[0], done[1]}) ::close(fd);
  ::waitpid(child, nullptr, 0);
}

TEST(FdCountTest, SaysMinusOneWhenThereIsNoSuchProcess) { EXPECT_EQ(OpenFdCountOf(-5), -1); }

}  // namespace
}  // namespace vfio_user
