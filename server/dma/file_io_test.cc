#include "server/dma/file_io.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/system_call_filter.h"

namespace vfio_user {
namespace {

constexpr DmaMapFlags kBoth = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;
constexpr size_t kPage = 4096;

UniqueFd SelfMem(int flags) { return UniqueFd(::open("/proc/self/mem", flags | O_CLOEXEC)); }

uint64_t OffsetOf(const void* memory) { return reinterpret_cast<uintptr_t>(memory); }

TEST(CheckFileIoTest, TakesMemoryAndFiles) {
  EXPECT_THAT(CheckFileIo(SelfMem(O_RDWR), kBoth), IsOk());
  EXPECT_THAT(CheckFileIo(SelfMem(O_RDONLY), DmaMapFlag::kRead), IsOk());
  EXPECT_THAT(CheckFileIo(SelfMem(O_WRONLY), DmaMapFlag::kWrite), IsOk());
  EXPECT_THAT(CheckFileIo(Memfd("abc"), kBoth), IsOk());
}

TEST(CheckFileIoTest, RejectsADescriptorOfTheOtherDirection) {
  EXPECT_EQ(ErrnoOf(CheckFileIo(SelfMem(O_RDONLY), kBoth)), EACCES);
  EXPECT_EQ(ErrnoOf(CheckFileIo(SelfMem(O_RDONLY), DmaMapFlag::kWrite)), EACCES);
  EXPECT_EQ(ErrnoOf(CheckFileIo(SelfMem(O_WRONLY), DmaMapFlag::kRead)), EACCES);
  EXPECT_EQ(ErrnoOf(CheckFileIo(SelfMem(O_PATH), DmaMapFlag::kRead)), EACCES);
}

TEST(CheckFileIoTest, RejectsFilesOfProcfsThatAreNotMemory) {
  EXPECT_EQ(ErrnoOf(CheckFileIo(UniqueFd(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC)),
                                DmaMapFlag::kRead)),
            EINVAL);
}

TEST(CheckFileIoTest, RejectsAFileThatAppendsWhereverItIsToldToWrite) {
  const UniqueFd file = Memfd("abc");
  ASSERT_EQ(::fcntl(file.get(), F_SETFL, O_APPEND), 0);

  EXPECT_EQ(ErrnoOf(CheckFileIo(file, kBoth)), EINVAL);
  EXPECT_THAT(CheckFileIo(file, DmaMapFlag::kRead), IsOk());
}

TEST(CheckFileIoTest, RejectsWhatHasNoOffsetsOrMayBlock) {
  std::array<int, 2> ends;
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const auto sockets = Socket::Pair();
  ASSERT_THAT(sockets, IsOk());

  EXPECT_EQ(ErrnoOf(CheckFileIo(reader, DmaMapFlag::kRead)), EINVAL);
  EXPECT_EQ(ErrnoOf(CheckFileIo(sockets->first.fd(), kBoth)), EINVAL);
  EXPECT_EQ(ErrnoOf(CheckFileIo(UniqueFd(::eventfd(0, EFD_CLOEXEC)), kBoth)), EINVAL);
  EXPECT_EQ(ErrnoOf(CheckFileIo(UniqueFd(::open("/", O_RDONLY | O_CLOEXEC)), {})), EINVAL);
}

TEST(FileIoTest, MovesBytesOfThisProcess) {
  const UniqueFd mem = SelfMem(O_RDWR);
  std::vector<std::byte> memory(3'000'001, std::byte{7});
  std::vector<std::byte> buffer(memory.size());

  ASSERT_THAT(ReadFileAt(mem, OffsetOf(memory.data()), buffer), IsOk());
  EXPECT_EQ(buffer, memory);

  buffer.assign(buffer.size(), std::byte{9});
  ASSERT_THAT(WriteFileAt(mem, OffsetOf(memory.data()), buffer), IsOk());
  EXPECT_EQ(buffer, memory);
}

TEST(FileIoTest, IsAbortedByFreedMemory) {
  const UniqueFd mem = SelfMem(O_RDWR);
  std::vector<std::byte> buffer(2 * kPage, std::byte{1});
  void* const pages =
      ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  ASSERT_EQ(::munmap(static_cast<std::byte*>(pages) + kPage, kPage), 0);

  const absl::Status read = ReadFileAt(mem, OffsetOf(pages), buffer);
  const absl::Status written = WriteFileAt(mem, OffsetOf(pages), buffer);

  EXPECT_THAT(read, StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(ErrnoOf(read), EIO);
  EXPECT_THAT(written, StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(ErrnoOf(written), EIO);
  ::munmap(pages, kPage);
}

TEST(FileIoTest, SaysThatTheFileHasEnded) {
  const UniqueFd file = Memfd("abc");
  std::array<std::byte, 4> into;

  EXPECT_THAT(ReadFileAt(file, 0, std::span(into).first(3)), IsOk());
  EXPECT_THAT(ReadFileAt(file, 0, into), StatusIs(absl::StatusCode::kUnavailable));
}

// As when a signal comes while a file system waits for its disk or its server.
TEST(FileIoTest, GoesOnWhenACallIsInterrupted) {
  const UniqueFd file = Memfd("abc");
  std::array<std::byte, 3> bytes = {};
  absl::Status read;
  absl::Status written;

  const int reads =
      RunWithOneFailure(SYS_pread64, EINTR, [&] { read = ReadFileAt(file, 0, bytes); });
  const int writes =
      RunWithOneFailure(SYS_pwrite64, EINTR, [&] { written = WriteFileAt(file, 3, bytes); });

  if (reads < 0) GTEST_SKIP() << "no system call can be made to fail here";
  EXPECT_THAT(read, IsOk());
  EXPECT_THAT(written, IsOk());
  EXPECT_EQ(reads, 2);
  EXPECT_EQ(writes, 2);
  std::array<char, 7> content = {};
  EXPECT_EQ(::pread(file.get(), content.data(), content.size(), 0), 6);
  EXPECT_STREQ(content.data(), "abcabc");
}

// A child that gives its memory to whoever holds the other end of `socket`, and ends when that end
// is closed.
[[noreturn]] void LendMemoryAndExit(Socket socket) {
  const UniqueFd mem = SelfMem(O_RDWR);
  std::array<std::byte, 1> byte = {};
  iovec part = {.iov_base = byte.data(), .iov_len = 1};
  const FdView fd = mem;
  (void)socket.Send(std::span(&part, 1), std::span(&fd, 1), Deadline::Never(),
                    absl::InfiniteDuration());
  (void)socket.WaitReadable(Deadline::Never());
  std::_Exit(0);
}

TEST(FileIoTest, SaysThatTheOwnerOfTheMemoryIsGone) {
  auto sockets = Socket::Pair();
  ASSERT_THAT(sockets, IsOk());
  std::array<std::byte, 4> memory = {std::byte{5}};  // In the child, at the same place.
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    { const Socket mine = std::move(sockets->first); }
    LendMemoryAndExit(std::move(sockets->second));
  }
  std::array<uint8_t, 1> byte;
  auto received = sockets->first.Receive(byte, Deadline::Never());
  ASSERT_THAT(received, IsOk());
  ASSERT_EQ(received->fds.size(), 1u);
  std::array<std::byte, 4> buffer;
  ASSERT_THAT(ReadFileAt(received->fds[0], OffsetOf(&memory), buffer), IsOk());
  EXPECT_EQ(buffer, memory);

  sockets->first.Shutdown();
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);

  EXPECT_THAT(ReadFileAt(received->fds[0], OffsetOf(&memory), buffer),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(WriteFileAt(received->fds[0], OffsetOf(&memory), buffer),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace vfio_user
