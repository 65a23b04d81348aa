// Copies of this process's own memory that may not be there: the application may have freed it
// under its mapping, or a peer may have truncated the file behind it. A plain memcpy() would end
// the process with SIGSEGV or SIGBUS; here the kernel copies, and says EFAULT.
//
// Page protections hold, as they do for memcpy(): that is why nothing here goes through
// /proc/self/mem, which forces its way through them.
//
// Costs two system calls, about 0.4 us, and for long copies up to twice the time of memcpy().
// Where the kernel does not let process_vm_readv() near the memory (a sandbox that refuses the
// call, the registers of a device that are mapped here), it goes through a pipe instead, which
// costs a few microseconds and twice the time.
#ifndef PROTO_DEFS_BASE_GUARDED_COPY_H_
#define PROTO_DEFS_BASE_GUARDED_COPY_H_

#include <cstddef>
#include <span>

#include "absl/status/status.h"

namespace vfio_user {

// Copies into.size() bytes at `from` to `into`. OutOfRange (EFAULT) where memory at `from` is gone
// or may not be read; then a part from the start of `into` has been filled. Anything else is want
// of resources: of descriptors or memory. `into` must be there, and the two must not overlap.
// Thread-safe, as far as the memory is.
absl::Status GuardedRead(const std::byte* from, std::span<std::byte> into);

// The other way: copies `from`, which must be there, to memory at `to`, which may be gone or not
// writable. The same errors.
absl::Status GuardedWrite(std::span<const std::byte> from, std::byte* to);

}  // namespace vfio_user

#endif  // PROTO_DEFS_BASE_GUARDED_COPY_H_
