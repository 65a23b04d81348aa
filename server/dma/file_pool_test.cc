#include "server/dma/file_pool.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/fd_limit.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/system_call_filter.h"

namespace vfio_user {
namespace {

UniqueFd Duplicate(FdView fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }
UniqueFd SelfMem(int flags) { return UniqueFd(::open("/proc/self/mem", flags | O_CLOEXEC)); }

TEST(FilePoolTest, KeepsAnOpenFileOnce) {
  const UniqueFd mem = SelfMem(O_RDWR);
  FilePool pool;
  const int before = OpenFdCount();

  std::vector<FilePool::File> files;
  for (int i = 0; i < 4096; ++i) files.push_back(pool.Acquire(Duplicate(mem)).value());

  EXPECT_EQ(OpenFdCount(), before + 1);
}

// A kernel may be built without kcmp(), and a sandbox refuse it.
bool HasKcmp() { return ::syscall(SYS_kcmp, ::getpid(), ::getpid(), KCMP_FILE, 0, 0) >= 0; }
constexpr char kNoKcmp[] =
    "kcmp(), which this is about, is not to be had in this kernel or sandbox; what is done then is "
    "ComparesFlagsInASandboxThatRefusesKcmp's";

TEST(FilePoolTest, TellsOpenFilesOfOneInodeApart) {
  FilePool pool;

  const FilePool::File both = pool.Acquire(SelfMem(O_RDWR)).value();
  const FilePool::File reading = pool.Acquire(SelfMem(O_RDONLY)).value();

  EXPECT_NE(both, reading);
}

// They may be of different memory: an exec leaves the inode.
TEST(FilePoolTest, TellsOpenFilesOfOneInodeApartThatHaveTheSameFlags) {
  if (!HasKcmp()) GTEST_SKIP() << kNoKcmp;
  FilePool pool;

  const FilePool::File one = pool.Acquire(SelfMem(O_RDWR)).value();
  const FilePool::File other = pool.Acquire(SelfMem(O_RDWR)).value();

  EXPECT_NE(one, other);
}

TEST(FilePoolTest, TellsFilesApart) {
  FilePool pool;

  const FilePool::File one = pool.Acquire(Memfd("1")).value();
  const FilePool::File other = pool.Acquire(Memfd("2")).value();

  EXPECT_NE(one, other);
}

TEST(FilePoolTest, ClosesAFileWithItsLastUser) {
  const UniqueFd mem = SelfMem(O_RDWR);
  FilePool pool;
  const int before = OpenFdCount();
  FilePool::File one = pool.Acquire(Duplicate(mem)).value();
  FilePool::File other = pool.Acquire(Duplicate(mem)).value();

  one.reset();
  EXPECT_EQ(OpenFdCount(), before + 1);
  other.reset();
  EXPECT_EQ(OpenFdCount(), before);

  EXPECT_THAT(pool.Acquire(Duplicate(mem)), IsOk());
}

TEST(FilePoolTest, ForgetsNoFileInUse) {
  FilePool pool;
  const UniqueFd kept = Memfd("kept");
  const FilePool::File file = pool.Acquire(Duplicate(kept)).value();

  for (int i = 0; i < 100; ++i) ASSERT_THAT(pool.Acquire(Memfd("passing")), IsOk());

  EXPECT_EQ(pool.Acquire(Duplicate(kept)).value(), file);
}

TEST(FilePoolTest, LeavesTheProcessSomeDescriptors) {
  FilePool pool;
  std::vector<FilePool::File> files;
  absl::Status status;
  int others = 0;
  {
    const ScopedFdLimit limit(100);
    while (status.ok()) {
      auto file = pool.Acquire(Memfd("abc"));
      status = file.status();
      if (file.ok()) files.push_back(*std::move(file));
    }
    std::vector<UniqueFd> rest;
    while (rest.size() < 10 &&
           (rest.push_back(Duplicate(files.front()->fd)), rest.back().valid())) {
      ++others;
    }
  }

  EXPECT_EQ(ErrnoOf(status), ENOSPC);
  EXPECT_EQ(others, 10);
}

TEST(FilePoolTest, RejectsWhatIsNoDescriptor) {
  FilePool pool;

  EXPECT_FALSE(pool.Acquire(UniqueFd()).ok());
}

constexpr int kDupFdQuery = 1027;  // F_DUPFD_QUERY, which older headers do not have.

// 0, or the number of what went wrong.
int PoolOnAnOldKernel() {
  const UniqueFd mem = SelfMem(O_RDWR);
  FilePool pool;
  if (!RefuseFcntl(kDupFdQuery, EINVAL)) return 1;

  const FilePool::File file = pool.Acquire(Duplicate(mem)).value();
  if (pool.Acquire(Duplicate(mem)).value() != file) return 2;
  if (pool.Acquire(SelfMem(O_RDWR)).value() == file) return 3;
  return 0;
}

TEST(FilePoolTest, AsksKcmpWhereFcntlDoesNotKnow) {
  if (!HasKcmp()) GTEST_SKIP() << kNoKcmp;

  EXPECT_EXIT(std::_Exit(PoolOnAnOldKernel()), testing::ExitedWithCode(0), "");
}

int PoolInASandbox() {
  const UniqueFd mem = SelfMem(O_RDWR);
  FilePool pool;
  if (!RefuseSystemCall(SYS_kcmp, EPERM) || !RefuseFcntl(kDupFdQuery, EINVAL)) return 1;

  const FilePool::File file = pool.Acquire(Duplicate(mem)).value();
  if (pool.Acquire(Duplicate(mem)).value() != file) return 2;
  if (pool.Acquire(SelfMem(O_RDONLY)).value() == file) return 3;
  if (pool.Acquire(Memfd("x")).value() == file) return 4;
  return 0;
}

TEST(FilePoolTest, ComparesFlagsInASandboxThatRefusesKcmp) {
  EXPECT_EXIT(std::_Exit(PoolInASandbox()), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vfio_user
