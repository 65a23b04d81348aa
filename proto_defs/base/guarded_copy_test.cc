#include "proto_defs/base/guarded_copy.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {
namespace {

constexpr size_t kPage = 4096;

// Anonymous pages, all of one protection and filled with 0x5a.
class Pages {
 public:
  Pages(size_t bytes, int protection) : bytes_(bytes) {
    void* const at =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    data_ = static_cast<std::byte*>(at);
    std::fill_n(data_, bytes, std::byte{0x5a});
    if (::mprotect(data_, bytes, protection) != 0) std::abort();
  }
  ~Pages() { ::munmap(data_, bytes_); }

  std::byte* data() { return data_; }
  // The next allocation may take the place of what was freed.
  void FreeFrom(size_t offset) { ::munmap(data_ + offset, bytes_ - offset); }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_;
};

std::vector<std::byte> Counting(size_t bytes) {
  std::vector<std::byte> out(bytes);
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(i % 251);
  return out;
}

TEST(GuardedReadTest, CopiesMemoryThatIsThere) {
  const std::vector<std::byte> from = Counting(3'000'001);
  std::vector<std::byte> into(from.size());

  EXPECT_TRUE(GuardedRead(from.data(), into).ok());

  EXPECT_EQ(into, from);
}

TEST(GuardedReadTest, CopiesNothingOfNothing) { EXPECT_TRUE(GuardedRead(nullptr, {}).ok()); }

TEST(GuardedReadTest, SaysWhenMemoryIsGone) {
  std::vector<std::byte> into(4 * kPage);
  Pages pages(4 * kPage, PROT_READ);
  pages.FreeFrom(2 * kPage);

  const absl::Status status = GuardedRead(pages.data(), into);

  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
  EXPECT_EQ(ErrnoOf(status), EFAULT);
  EXPECT_EQ(into[2 * kPage - 1], std::byte{0x5a});
}

TEST(GuardedReadTest, SaysWhenTheFileBehindMemoryWasTruncated) {
  const int fd = ::memfd_create("guarded_copy_test", MFD_CLOEXEC);
  ASSERT_EQ(::ftruncate(fd, 2 * kPage), 0);
  void* const at = ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(at, MAP_FAILED);
  ASSERT_EQ(::ftruncate(fd, 0), 0);
  std::vector<std::byte> buffer(2 * kPage);

  EXPECT_EQ(ErrnoOf(GuardedRead(static_cast<std::byte*>(at), buffer)), EFAULT);
  EXPECT_EQ(ErrnoOf(GuardedWrite(buffer, static_cast<std::byte*>(at))), EFAULT);

  ::munmap(at, 2 * kPage);
  ::close(fd);
}

TEST(GuardedReadTest, RespectsPageProtection) {
  Pages pages(kPage, PROT_NONE);
  std::array<std::byte, 8> into;

  EXPECT_EQ(ErrnoOf(GuardedRead(pages.data(), into)), EFAULT);
}

// What the kernel cannot pin, process_vm_readv() cannot read; a device's registers are like that,
// and so is the page of clocks that the kernel maps into every process.
TEST(GuardedReadTest, ReadsMemoryThatCannotBePinned) {
  uintptr_t address = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with("[vvar]")) address = std::stoull(line, nullptr, 16);
  }
  if (address == 0) GTEST_SKIP() << "this kernel maps no [vvar]";
  std::array<std::byte, 8> into;

  EXPECT_TRUE(GuardedRead(reinterpret_cast<const std::byte*>(address), into).ok());
}

TEST(GuardedWriteTest, CopiesToMemoryThatIsThere) {
  const std::vector<std::byte> from = Counting(3'000'001);
  std::vector<std::byte> to(from.size());

  EXPECT_TRUE(GuardedWrite(from, to.data()).ok());

  EXPECT_EQ(to, from);
}

TEST(GuardedWriteTest, SaysWhenMemoryIsGone) {
  const std::vector<std::byte> from(4 * kPage, std::byte{1});
  Pages pages(4 * kPage, PROT_READ | PROT_WRITE);
  pages.FreeFrom(2 * kPage);

  const absl::Status status = GuardedWrite(from, pages.data());

  EXPECT_EQ(ErrnoOf(status), EFAULT);
  EXPECT_EQ(pages.data()[2 * kPage - 1], std::byte{1});
}

TEST(GuardedWriteTest, RespectsPageProtection) {
  Pages pages(kPage, PROT_READ);
  const std::vector<std::byte> from(8);

  EXPECT_EQ(ErrnoOf(GuardedWrite(from, pages.data())), EFAULT);
  EXPECT_EQ(pages.data()[0], std::byte{0x5a});
}

// From here on, this process gets `error` from process_vm_readv() and process_vm_writev().
bool RefuseProcessVm(uint32_t error) {
  std::array<sock_filter, 5> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program = {.len = filter.size(), .filter = filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// 0, or the number of what went wrong.
int CopyInASandbox(uint32_t refusal) {
  const std::vector<std::byte> from = Counting(300'001);
  std::vector<std::byte> to(from.size());
  Pages fixed(kPage, PROT_READ);
  Pages gone(2 * kPage, PROT_READ | PROT_WRITE);
  gone.FreeFrom(kPage);
  if (!RefuseProcessVm(refusal)) return 1;

  if (!GuardedRead(from.data(), to).ok() || to != from) return 2;
  std::fill(to.begin(), to.end(), std::byte{0});
  if (!GuardedWrite(from, to.data()).ok() || to != from) return 3;
  if (ErrnoOf(GuardedRead(gone.data(), std::span(to).first(2 * kPage))) != EFAULT) return 4;
  if (ErrnoOf(GuardedWrite(std::span(from).first(2 * kPage), gone.data())) != EFAULT) return 5;
  if (ErrnoOf(GuardedWrite(std::span(from).first(8), fixed.data())) != EFAULT) return 6;
  return 0;
}

TEST(GuardedCopyTest, WorksInASandboxThatRefusesTheSystemCalls) {
  EXPECT_EXIT(std::_Exit(CopyInASandbox(EPERM)), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(std::_Exit(CopyInASandbox(ENOSYS)), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vfio_user
