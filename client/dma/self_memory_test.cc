#include "client/dma/self_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;

off_t OffsetOf(const void* address) {
  return static_cast<off_t>(reinterpret_cast<uintptr_t>(address));
}

TEST(SelfMemoryTest, ReadsAndWritesThisProcessAtItsAddresses) {
  SelfMemory memory;
  uint32_t here = 0x11111111;
  const absl::StatusOr<FdView> fd = memory.Open(kReadWrite);
  ASSERT_THAT(fd, IsOk());

  uint32_t seen = 0;
  EXPECT_EQ(::pread(fd->get(), &seen, 4, OffsetOf(&here)), 4);
  const uint32_t written = 0x22222222;
  EXPECT_EQ(::pwrite(fd->get(), &written, 4, OffsetOf(&here)), 4);

  EXPECT_EQ(seen, 0x11111111u);
  EXPECT_EQ(here, 0x22222222u);
}

TEST(SelfMemoryTest, GivesNoWayToWriteForReadOnlyAccess) {
  SelfMemory memory;
  const uint32_t here = 0x11111111;
  const absl::StatusOr<FdView> fd = memory.Open(DmaMapFlag::kRead);
  ASSERT_THAT(fd, IsOk());

  const uint32_t written = 0x22222222;
  EXPECT_EQ(::pwrite(fd->get(), &written, 4, OffsetOf(&here)), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(::fcntl(fd->get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(here, 0x11111111u);
}

TEST(SelfMemoryTest, OpensEachKindOnce) {
  SelfMemory memory;
  const int before = OpenFdCount();

  const absl::StatusOr<FdView> first = memory.Open(kReadWrite);
  const absl::StatusOr<FdView> again = memory.Open(kReadWrite);
  const absl::StatusOr<FdView> write_only = memory.Open(DmaMapFlag::kWrite);
  const absl::StatusOr<FdView> read_only = memory.Open(DmaMapFlag::kRead);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(again, IsOk());
  ASSERT_THAT(write_only, IsOk());
  ASSERT_THAT(read_only, IsOk());

  EXPECT_EQ(first->get(), again->get());
  EXPECT_EQ(first->get(), write_only->get());
  EXPECT_NE(first->get(), read_only->get());
  EXPECT_EQ(OpenFdCount(), before + 2);
}

TEST(SelfMemoryTest, IsClosedOnExecAndWithItsOwner) {
  const int before = OpenFdCount();
  {
    SelfMemory memory;
    const absl::StatusOr<FdView> fd = memory.Open(kReadWrite);
    ASSERT_THAT(fd, IsOk());
    EXPECT_EQ(::fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
  }

  EXPECT_EQ(OpenFdCount(), before);
}

}  // namespace
}  // namespace vfio_user
