// Transfers to and from memory that is reached through a descriptor: pread() and pwrite().
#ifndef SERVER_DMA_FILE_IO_H_
#define SERVER_DMA_FILE_IO_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"

namespace vfio_user {

// Whether `file`, which a client sent, can be read and written at an offset as far as `access`
// asks. InvalidArgument (EINVAL) for what has no offsets (a pipe, a socket) or may block for ever
// (a terminal, an eventfd), PermissionDenied (EACCES) for one that was opened for the other
// direction.
absl::Status CheckFileIo(FdView file, DmaMapFlags access);
// The last of it alone: the direction, for a file of which the rest is known.
absl::Status CheckFileAccess(FdView file, DmaMapFlags access);

// Move all of the bytes, in as many calls as it takes. Unavailable at the end of the file, which
// for a /proc/<pid>/mem means that the process is gone (or has exec'ed); Aborted (EIO) where
// nothing is mapped there. Then a part has been moved. Thread-safe.
absl::Status ReadFileAt(FdView file, uint64_t offset, std::span<std::byte> into);
absl::Status WriteFileAt(FdView file, uint64_t offset, std::span<const std::byte> from);

}  // namespace vfio_user

#endif  // SERVER_DMA_FILE_IO_H_
