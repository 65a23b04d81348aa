// Memory of a client's process, many places of it in one call of the kernel: process_vm_readv() and
// process_vm_writev().
#ifndef SERVER_DMA_PROCESS_MEMORY_H_
#define SERVER_DMA_PROCESS_MEMORY_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <optional>
#include <span>

#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// A faster way to what a descriptor of /proc/<pid>/mem reaches: bytes are copied once and not by
// way of a page of the kernel's, and many pieces cost one call. It never does more than the
// descriptor allows, and sometimes less: it does not force its way through page protections. So
// whoever uses it moves what it leaves through the descriptor, and has the same bytes and the same
// errors as without.
//
// The calls name a process, the descriptor names memory: after an exec the process has other
// memory. Every transfer looks at the descriptor when it is through, and a write also before it.
// Thread-safe.
class ProcessMemory {
 public:
  // Of a client at the other end of a socket, `peer`. nullopt where `mem`, which is borrowed for as
  // long as this is used, is not that process's /proc/<pid>/mem or cannot be read, where the kernel
  // (ptrace access, a sandbox, another pid namespace) does not permit the calls, and where they
  // would reach what the descriptor could not:
  //
  // SECURITY: between a look at the descriptor and a write, the client may exec a program of
  // another user (setuid). Without CAP_SYS_PTRACE the kernel refuses that memory to this process;
  // with it only root's processes are reached this way, which could become anybody all the same.
  static std::optional<ProcessMemory> Find(FdView mem, const PeerCredentials& peer);

  // Moves bytes between `here`, this process's, and `there`, the client's: lists of at most IOV_MAX
  // pieces, not empty, of the same length together. Returns how many bytes from the beginning were
  // moved. 0, although some may have been, when the owner of the memory is gone.
  size_t Read(std::span<const iovec> here, std::span<const iovec> there) const;
  size_t Write(std::span<const iovec> here, std::span<const iovec> there) const;

 private:
  ProcessMemory(FdView mem, pid_t pid) : mem_(mem), pid_(pid) {}

  // Whether the memory that the descriptor names has a user still. `there` is not empty.
  bool HasOwner(std::span<const iovec> there) const;

  FdView mem_;
  pid_t pid_;
};

}  // namespace vfio_user

#endif  // SERVER_DMA_PROCESS_MEMORY_H_
