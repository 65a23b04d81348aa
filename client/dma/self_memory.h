// This process's memory as a file.
#ifndef CLIENT_DMA_SELF_MEMORY_H_
#define CLIENT_DMA_SELF_MEMORY_H_

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"

namespace vfio_user {

// Opens /proc/self/mem for a server to pread() and pwrite(): the offset in it is the address in
// this process. Thread-safe.
//
// SECURITY: whoever holds such a descriptor can read ALL of this process's memory, not only what
// was mapped for the device, and with one that is writable can write all of it, pages mapped
// PROT_READ too: the kernel forces the write (seen on 6.18; some kernels can be set to refuse). One
// that is O_RDONLY gives no way to write: pwrite() on it fails (EBADF). So it is passed to servers
// that peer_trust.h allows, and to nobody else.
//
// A descriptor keeps naming the memory of the process that opened it. After fork(), a child that
// went on using the connection would lend out its parent's memory.
class SelfMemory {
 public:
  // For a device with this access. Each kind is opened once and kept, so that a server that
  // recognises a descriptor it has already keeps one for all mappings. Borrowed.
  absl::StatusOr<FdView> Open(DmaMapFlags access) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Mutex mu_;
  UniqueFd read_only_ ABSL_GUARDED_BY(mu_);
  UniqueFd read_write_ ABSL_GUARDED_BY(mu_);
};

}  // namespace vfio_user

#endif  // CLIENT_DMA_SELF_MEMORY_H_
