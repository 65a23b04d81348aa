#include "server/dma/process_memory.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "fmt/format.h"

namespace vfio_user {
namespace {

bool HasPtraceCapability() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets = {};
  // Where it cannot be known, the answer is the one that forbids more.
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return true;
  return (sets[CAP_TO_INDEX(CAP_SYS_PTRACE)].effective & CAP_TO_MASK(CAP_SYS_PTRACE)) != 0;
}

bool IsMemoryOf(FdView mem, pid_t pid) {
  struct stat here = {};
  struct stat there = {};
  return ::fstat(mem.get(), &here) == 0 &&
         ::stat(fmt::format("/proc/{}/mem", pid).c_str(), &there) == 0 &&
         here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

using RandomBytes = std::array<std::byte, 16>;

// Where exec put random bytes, others each time (AT_RANDOM, see getauxval); 0 where that cannot be
// known.
uint64_t AddressOfRandomBytes(pid_t pid) {
  const UniqueFd file(::open(fmt::format("/proc/{}/auxv", pid).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<Elf64_auxv_t, 64> entries = {};
  if (::read(file.get(), entries.data(), sizeof(entries)) < 0) return 0;
  for (const Elf64_auxv_t& entry : entries) {
    if (entry.a_type == AT_RANDOM) return entry.a_un.a_val;
  }
  return 0;
}

// Whether the calls reach what the descriptor does, and so whether they are permitted at all. Not
// so where /proc was mounted for another pid namespace, nor for a descriptor that was opened
// between vfork and exec: the inode is that of the process, the memory is another's.
bool ReachTheSame(FdView mem, pid_t pid) {
  const uint64_t address = AddressOfRandomBytes(pid);
  RandomBytes by_descriptor = {};
  RandomBytes by_call = {};
  const iovec here = {.iov_base = by_call.data(), .iov_len = by_call.size()};
  const iovec there = {.iov_base = reinterpret_cast<void*>(address), .iov_len = by_call.size()};
  constexpr auto kBytes = static_cast<ssize_t>(sizeof(RandomBytes));
  return ::pread(mem.get(), by_descriptor.data(), by_descriptor.size(),
                 static_cast<off_t>(address)) == kBytes &&
         ::process_vm_readv(pid, &here, 1, &there, 1, 0) == kBytes && by_descriptor == by_call;
}

// How many bytes a call moved that returned `result`.
size_t Moved(ssize_t result) { return result > 0 ? static_cast<size_t>(result) : 0; }

}  // namespace

std::optional<ProcessMemory> ProcessMemory::Find(FdView mem, const PeerCredentials& peer) {
  // 0 is what a client in another pid namespace is called.
  if (peer.pid <= 0 || !IsMemoryOf(mem, peer.pid)) return std::nullopt;
  if (peer.uid != 0 && HasPtraceCapability()) return std::nullopt;
  if (!ReachTheSame(mem, peer.pid)) return std::nullopt;
  return ProcessMemory(mem, peer.pid);
}

size_t ProcessMemory::Read(std::span<const iovec> here, std::span<const iovec> there) const {
  const ssize_t result =
      ::process_vm_readv(pid_, here.data(), here.size(), there.data(), there.size(), 0);
  return HasOwner(there) ? Moved(result) : 0;
}

size_t ProcessMemory::Write(std::span<const iovec> here, std::span<const iovec> there) const {
  if (!HasOwner(there)) return 0;
  const ssize_t result =
      ::process_vm_writev(pid_, here.data(), here.size(), there.data(), there.size(), 0);
  return HasOwner(there) ? Moved(result) : 0;
}

bool ProcessMemory::HasOwner(std::span<const iovec> there) const {
  std::byte byte;
  const auto at = reinterpret_cast<uintptr_t>(there.front().iov_base);
  const long result = ::syscall(SYS_pread64, mem_.get(), &byte, 1, at);
  // Where nothing is mapped there is an owner all the same; any other error says nothing of it.
  return result == 1 || (result < 0 && errno == EIO);
}

}  // namespace vfio_user
