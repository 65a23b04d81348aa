#include "server/dma/client_memory.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/file_pool.h"
#include "server/dma/mapped_file.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

constexpr DmaMapFlags kBoth = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;
constexpr DmaMapFlags kMmap = kBoth | DmaMapFlag::kMmap;
constexpr DmaMapFlags kFileIo = kBoth | DmaMapFlag::kFileIo;

UniqueFd SelfMem(int flags) { return UniqueFd(::open("/proc/self/mem", flags | O_CLOEXEC)); }

class OpenDirectPathTest : public testing::Test {
 protected:
  // Each call takes the descriptors, whatever becomes of the request.
  template <typename... Fds>
  absl::StatusOr<DirectPath> Open(DmaMapFlags flags, Fds... fds) {
    std::vector<UniqueFd> all;
    (all.push_back(std::move(fds)), ...);
    return OpenDirectPath({.flags = flags, .file_offset = 0, .address = Iova{}, .size = 3},
                          std::move(all), pool_);
  }
  template <typename... Fds>
  int ErrnoOfOpen(DmaMapFlags flags, Fds... fds) {
    return ErrnoOf(Open(flags, std::move(fds)...).status());
  }

  FilePool pool_;
};

TEST_F(OpenDirectPathTest, IsNoneWithoutADescriptor) {
  const auto path = Open(kBoth);

  ASSERT_THAT(path, IsOk());
  EXPECT_TRUE(std::holds_alternative<std::monostate>(*path));
}

TEST_F(OpenDirectPathTest, MapsADescriptorWithTheFlagOrWithoutAny) {
  const auto asked = Open(kMmap, Memfd("abc"));
  const auto unasked = Open(kBoth, Memfd("abc"));

  ASSERT_THAT(asked, IsOk());
  ASSERT_THAT(unasked, IsOk());
  EXPECT_TRUE(std::holds_alternative<MappedFile>(*asked));
  EXPECT_TRUE(std::holds_alternative<MappedFile>(*unasked));
}

TEST_F(OpenDirectPathTest, IsFileIoWhereAsked) {
  const auto memory = Open(kFileIo, SelfMem(O_RDWR));
  const auto file = Open(kFileIo, Memfd("abc"));

  ASSERT_THAT(memory, IsOk());
  ASSERT_THAT(file, IsOk());
  EXPECT_TRUE(std::holds_alternative<FileWindow>(*memory));
  EXPECT_TRUE(std::holds_alternative<FileWindow>(*file));
}

TEST_F(OpenDirectPathTest, TakesARegionThatNobodyMayUse) {
  EXPECT_THAT(Open({}), IsOk());
  EXPECT_THAT(Open(DmaMapFlag::kMmap, Memfd("abc")), IsOk());
  EXPECT_THAT(Open(DmaMapFlag::kFileIo, SelfMem(O_RDONLY)), IsOk());
}

TEST_F(OpenDirectPathTest, RejectsAModeWithoutADescriptor) {
  EXPECT_EQ(ErrnoOfOpen(kMmap), EINVAL);
  EXPECT_EQ(ErrnoOfOpen(kFileIo), EINVAL);
}

TEST_F(OpenDirectPathTest, RejectsBothModes) {
  EXPECT_EQ(ErrnoOfOpen(kMmap | kFileIo), EINVAL);
  EXPECT_EQ(ErrnoOfOpen(kMmap | kFileIo, Memfd("abc")), EINVAL);
}

TEST_F(OpenDirectPathTest, RejectsTwoDescriptors) {
  EXPECT_EQ(ErrnoOfOpen(kBoth, Memfd("abc"), Memfd("def")), EINVAL);
  EXPECT_EQ(ErrnoOfOpen(kFileIo, SelfMem(O_RDWR), SelfMem(O_RDWR)), EINVAL);
}

TEST_F(OpenDirectPathTest, RejectsADescriptorThatDoesNotSuit) {
  std::array<int, 2> ends;
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);

  EXPECT_EQ(ErrnoOfOpen(kMmap, SelfMem(O_RDWR)), ENODEV);
  EXPECT_EQ(ErrnoOfOpen(kBoth, SelfMem(O_RDWR)), ENODEV);
  EXPECT_EQ(ErrnoOfOpen(kMmap, Memfd("ab")), EINVAL);
  EXPECT_EQ(ErrnoOfOpen(kFileIo, SelfMem(O_RDONLY)), EACCES);
  EXPECT_EQ(ErrnoOfOpen(kFileIo, UniqueFd(ends[0])), EINVAL);
  EXPECT_EQ(ErrnoOfOpen(kMmap, UniqueFd(ends[1])), ENODEV);
}

TEST_F(OpenDirectPathTest, RejectsAFileRangeBeyondAllFiles) {
  std::vector<UniqueFd> fds;
  fds.push_back(SelfMem(O_RDWR));

  const auto path =
      OpenDirectPath({.flags = kFileIo, .file_offset = INT64_MAX, .address = Iova{}, .size = 1},
                     std::move(fds), pool_);

  EXPECT_EQ(ErrnoOf(path.status()), EINVAL);
}

TEST_F(OpenDirectPathTest, ClosesWhatItRejects) {
  const int before = OpenFdCount();

  EXPECT_FALSE(Open(kBoth, Memfd("abc"), Memfd("def")).ok());
  EXPECT_FALSE(Open(kMmap, SelfMem(O_RDWR)).ok());
  EXPECT_FALSE(Open(kFileIo, SelfMem(O_RDONLY)).ok());

  EXPECT_EQ(OpenFdCount(), before);
}

TEST(ClientMemoryTest, ReachesAFileFromItsOffset) {
  FilePool pool;
  const FilePool::File file = pool.Acquire(Memfd("0123456789")).value();
  const ClientMemory memory(kBoth, FileWindow{file, 4}, nullptr);
  std::string two(2, ' ');

  EXPECT_TRUE(memory.direct());
  ASSERT_THAT(memory.Read(1, std::as_writable_bytes(std::span(two))), IsOk());
  EXPECT_EQ(two, "56");
  ASSERT_THAT(memory.Write(3, std::as_bytes(std::span(two))), IsOk());
  EXPECT_EQ(ContentOf(file->fd), "0123456569");
}

TEST(ClientMemoryTest, TellsWhenItHasLetGoOfItsFile) {
  const int before = OpenFdCount();
  FilePool pool;
  int open_at_notice = -1;
  auto memory = std::make_unique<ClientMemory>(
      kBoth, FileWindow{pool.Acquire(Memfd("x")).value(), 0}, nullptr);
  memory->NotifyWhenReleased(
      std::shared_ptr<void>(nullptr, [&](void*) { open_at_notice = OpenFdCount(); }));

  memory.reset();

  EXPECT_EQ(open_at_notice, before);
}

}  // namespace
}  // namespace vfio_user
