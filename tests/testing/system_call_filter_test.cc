#include "tests/testing/system_call_filter.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

// What getppid(), which else cannot fail, returns and sets errno to.
std::pair<long, int> Call() {
  errno = 0;
  const long result = ::syscall(SYS_getppid);
  return {result, errno};
}

TEST(RefuseSystemCallTest, RefusesThatCallAndNoOther) {
  const auto is_refused = [] {
    return RefuseSystemCall(SYS_getppid, EXDEV) && Call() == std::pair(-1l, EXDEV) &&
           ::syscall(SYS_getpid) > 0;
  };

  EXPECT_EXIT(std::_Exit(is_refused() ? 0 : 1), testing::ExitedWithCode(0), "");
}

TEST(RefuseFcntlTest, RefusesThatCommandAndNoOther) {
  const auto is_refused = [] {
    errno = 0;
    return RefuseFcntl(F_GETFL, EXDEV) && ::fcntl(0, F_GETFL) == -1 && errno == EXDEV &&
           ::fcntl(0, F_GETFD) >= 0 && ::syscall(SYS_getpid) > 0;
  };

  EXPECT_EXIT(std::_Exit(is_refused() ? 0 : 1), testing::ExitedWithCode(0), "");
}

TEST(RunWithOneFailureTest, FailsTheFirstCallAndNoLaterOne) {
  std::array<std::pair<long, int>, 3> calls;

  const int count = RunWithOneFailure(SYS_getppid, EINTR, [&calls] {
    for (auto& call : calls) call = Call();
  });

  EXPECT_EQ(count, 3);
  EXPECT_EQ(calls[0], std::pair(-1l, EINTR));
  EXPECT_EQ(calls[1], std::pair(long{::getppid()}, 0));
  EXPECT_EQ(calls[2], calls[1]);
}

TEST(RunWithOneFailureTest, FailsNothingOfOtherThreads) {
  std::pair<long, int> call;

  EXPECT_EQ(RunWithOneFailure(SYS_getppid, EINTR, [] {}), 0);
  call = Call();

  EXPECT_EQ(call, std::pair(long{::getppid()}, 0));
}

}  // namespace
}  // namespace vfio_user
