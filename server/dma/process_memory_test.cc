#include "server/dma/process_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/memfd.h"
#include "tests/testing/memory_lender.h"
#include "tests/testing/system_call_filter.h"

namespace vfio_user {
namespace {

constexpr size_t kPage = 4096;

PeerCredentials Self() { return {.pid = ::getpid(), .uid = ::getuid(), .gid = ::getgid()}; }
UniqueFd Open(const std::string& path, int flags = O_RDWR) {
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC));
}
iovec Vec(const void* at, size_t bytes) { return {const_cast<void*>(at), bytes}; }

// What the two processes of these tests have at the same address.
alignas(kPage) std::array<char, 4 * kPage> lent = {};

class ProcessMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!ProcessMemory::Find(own_, Self())) GTEST_SKIP() << "process_vm_readv() is refused here";
  }

  const UniqueFd own_ = Open("/proc/self/mem");
};

TEST_F(ProcessMemoryTest, IsFoundForThePeersMemoryAlone) {
  const MemoryLender lender;
  const MemoryLender other;
  PeerCredentials unknown = lender.credentials();
  unknown.pid = 0;

  EXPECT_TRUE(ProcessMemory::Find(lender.mem(), lender.credentials()).has_value());

  EXPECT_FALSE(ProcessMemory::Find(lender.mem(), other.credentials()).has_value());
  EXPECT_FALSE(ProcessMemory::Find(lender.mem(), Self()).has_value());
  EXPECT_FALSE(ProcessMemory::Find(lender.mem(), unknown).has_value());
  EXPECT_FALSE(ProcessMemory::Find(Memfd("abc"), Self()).has_value());
}

TEST_F(ProcessMemoryTest, IsNotFoundWhereTheDescriptorCannotBeRead) {
  EXPECT_TRUE(ProcessMemory::Find(Open("/proc/self/mem", O_RDONLY), Self()).has_value());

  EXPECT_FALSE(ProcessMemory::Find(Open("/proc/self/mem", O_WRONLY), Self()).has_value());
}

TEST_F(ProcessMemoryTest, IsNotFoundForAnOwnerThatIsGone) {
  MemoryLender exited;
  MemoryLender execed;
  const PeerCredentials credentials = exited.credentials();

  exited.Exit();
  execed.Exec();

  EXPECT_FALSE(ProcessMemory::Find(exited.mem(), credentials).has_value());
  EXPECT_FALSE(ProcessMemory::Find(execed.mem(), execed.credentials()).has_value());
}

// An open file of this inode, but of the memory that the process had before.
TEST_F(ProcessMemoryTest, IsNotFoundForMemoryFromBeforeAnExec) {
  MemoryLender lender;
  lender.Exec();
  const UniqueFd now = Open("/proc/" + std::to_string(lender.credentials().pid) + "/mem");

  EXPECT_TRUE(ProcessMemory::Find(now, lender.credentials()).has_value());
  EXPECT_FALSE(ProcessMemory::Find(lender.mem(), lender.credentials()).has_value());
}

// With the power to reach every process, it is not the kernel that keeps a write out of a program
// of another user's that the client has become.
TEST_F(ProcessMemoryTest, IsNotFoundForAnotherUserWhereTheKernelWouldAllowAnything) {
  if (::geteuid() != 0) GTEST_SKIP() << "want CAP_SYS_PTRACE";
  const MemoryLender lender;
  PeerCredentials user = lender.credentials();
  user.uid = 1000;

  EXPECT_FALSE(ProcessMemory::Find(lender.mem(), user).has_value());
}

TEST_F(ProcessMemoryTest, MovesPiecesInBothDirections) {
  const MemoryLender lender([] { std::memcpy(lent.data(), "0123456789", 10); });
  const ProcessMemory memory = ProcessMemory::Find(lender.mem(), lender.credentials()).value();
  std::string one(3, ' ');
  std::string other(2, ' ');
  const std::array<iovec, 2> here = {Vec(one.data(), 3), Vec(other.data(), 2)};
  const std::array<iovec, 2> there = {Vec(&lent[6], 3), Vec(&lent[0], 2)};

  EXPECT_EQ(memory.Read(here, there), 5u);
  EXPECT_EQ(one + other, "67801");

  one = "abc";
  other = "de";
  EXPECT_EQ(memory.Write(here, there), 5u);
  EXPECT_EQ(std::string(lent.data(), 3), std::string(3, '\0'));
  std::string all(10, ' ');
  const std::array<iovec, 1> all_here = {Vec(all.data(), 10)};
  const std::array<iovec, 1> all_there = {Vec(lent.data(), 10)};
  EXPECT_EQ(memory.Read(all_here, all_there), 10u);
  EXPECT_EQ(all, "de2345abc9");
}

TEST_F(ProcessMemoryTest, TakesAsManyPiecesAsTheKernel) {
  const ProcessMemory memory = ProcessMemory::Find(own_, Self()).value();
  std::vector<char> into(IOV_MAX);
  std::vector<iovec> here;
  std::vector<iovec> there;
  for (size_t i = 0; i < IOV_MAX; ++i) {
    lent[i] = static_cast<char>(i);
    here.push_back(Vec(&into[i], 1));
    there.push_back(Vec(&lent[IOV_MAX - 1 - i], 1));
  }

  EXPECT_EQ(memory.Read(here, there), static_cast<size_t>(IOV_MAX));

  for (size_t i = 0; i < IOV_MAX; ++i) ASSERT_EQ(into[i], lent[IOV_MAX - 1 - i]) << i;
}

TEST_F(ProcessMemoryTest, CountsWhatItMovedBeforeItCouldNot) {
  const MemoryLender lender([] { ::mprotect(&lent[2 * kPage], kPage, PROT_READ); });
  const ProcessMemory memory = ProcessMemory::Find(lender.mem(), lender.credentials()).value();
  std::vector<char> bytes(4 * kPage);
  const std::array<iovec, 1> here = {Vec(bytes.data(), bytes.size())};
  const std::array<iovec, 1> there = {Vec(lent.data(), lent.size())};

  EXPECT_EQ(memory.Read(here, there), 4 * kPage);
  EXPECT_EQ(memory.Write(here, there), 2 * kPage);
}

TEST_F(ProcessMemoryTest, MovesNothingWhereThereIsNothing) {
  const MemoryLender lender([] { ::munmap(lent.data(), lent.size()); });
  const ProcessMemory memory = ProcessMemory::Find(lender.mem(), lender.credentials()).value();
  std::array<char, 8> bytes = {};
  const std::array<iovec, 1> here = {Vec(bytes.data(), bytes.size())};
  const std::array<iovec, 1> there = {Vec(lent.data(), bytes.size())};

  EXPECT_EQ(memory.Read(here, there), 0u);
  EXPECT_EQ(memory.Write(here, there), 0u);
}

// Some memory of the process that can be written.
uint64_t WritableAddressOf(pid_t pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(" rw-p ") != std::string::npos) return std::strtoull(line.c_str(), nullptr, 16);
  }
  return 0;
}

TEST_F(ProcessMemoryTest, TouchesNothingOfTheProgramThatTheOwnerHasBecome) {
  MemoryLender lender;
  const ProcessMemory memory = ProcessMemory::Find(lender.mem(), lender.credentials()).value();
  lender.Exec();
  const uint64_t address = WritableAddressOf(lender.credentials().pid);
  ASSERT_NE(address, 0u);
  const UniqueFd now = Open("/proc/" + std::to_string(lender.credentials().pid) + "/mem");
  std::array<char, 8> before = {};
  ASSERT_EQ(::pread(now.get(), before.data(), 8, static_cast<off_t>(address)), 8);
  std::array<char, 8> bytes;
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(~before[i]);
  const std::array<iovec, 1> here = {Vec(bytes.data(), 8)};
  const std::array<iovec, 1> there = {Vec(reinterpret_cast<void*>(address), 8)};

  EXPECT_EQ(memory.Write(here, there), 0u);

  std::array<char, 8> after = {};
  ASSERT_EQ(::pread(now.get(), after.data(), 8, static_cast<off_t>(address)), 8);
  EXPECT_EQ(after, before);
  EXPECT_EQ(memory.Read(here, there), 0u);
}

TEST_F(ProcessMemoryTest, MovesNothingOfAProcessThatIsGone) {
  MemoryLender lender;
  const ProcessMemory memory = ProcessMemory::Find(lender.mem(), lender.credentials()).value();
  lender.Exit();
  std::array<char, 8> bytes = {};
  const std::array<iovec, 1> here = {Vec(bytes.data(), bytes.size())};
  const std::array<iovec, 1> there = {Vec(lent.data(), bytes.size())};

  EXPECT_EQ(memory.Read(here, there), 0u);
  EXPECT_EQ(memory.Write(here, there), 0u);
}

// Or where ptrace is restricted.
TEST_F(ProcessMemoryTest, IsNotFoundInASandboxThatRefusesTheCall) {
  const auto find = [] {
    const UniqueFd mem = Open("/proc/self/mem");
    return ProcessMemory::Find(mem, Self()).has_value();
  };

  const auto refuse = [] { return RefuseSystemCall(SYS_process_vm_readv, EPERM); };

  EXPECT_EXIT(std::_Exit(find() && refuse() && !find() ? 0 : 1), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vfio_user
