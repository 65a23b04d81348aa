#include "client/dma/self_memory.h"

#include <fcntl.h>

#include <cerrno>

#include "proto_defs/base/errno_status.h"

namespace vfio_user {

absl::StatusOr<FdView> SelfMemory::Open(DmaMapFlags access) {
  MutexLock lock(mu_);
  const bool writes = access.Has(DmaMapFlag::kWrite);
  UniqueFd& fd = writes ? read_write_ : read_only_;
  if (!fd.valid()) {
    fd.Reset(::open("/proc/self/mem", (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC));
    // EACCES: the process is not dumpable, and then it is root's. ENOENT: /proc is not mounted.
    if (!fd.valid()) return ErrnoStatus(errno, "opening /proc/self/mem to lend memory by file I/O");
  }
  return FdView(fd);
}

}  // namespace vfio_user
