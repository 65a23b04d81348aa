// The client's memory, as a device reaches it.
#ifndef SERVER_DMA_SPACE_H_
#define SERVER_DMA_SPACE_H_

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// How a transfer gets to the memory.
enum class DmaAccessPath {
  kAuto,     // Directly where the mapping allows it, else by message.
  kDirect,   // Directly, or FailedPrecondition where the mapping has no descriptor.
  kMessage,  // By DMA_READ and DMA_WRITE, whatever the mapping allows.
};

struct DmaReadPiece {
  Iova from{};
  std::span<std::byte> into;
};
struct DmaWritePiece {
  Iova to{};
  std::span<const std::byte> from;
};

// Thread-safe. A transfer blocks until it is done. It may cross from one mapping into the next,
// whatever the path of each. All pieces are looked up and checked before any byte moves; then they
// move in no particular order, so that what must be seen last (a status) is a transfer of its own.
// An error leaves an unknown part of them moved. An empty piece is nothing to do, wherever it is.
//
// Errors: OutOfRange (EFAULT) where nothing is mapped, PermissionDenied (EACCES) against the
// mapping's direction and (EPERM) while bus mastering is off, as it is after power-on and reset,
// Unavailable when the client or the memory's owner is gone, Cancelled by a
// reset or the end of the connection, Aborted (EIO) when the memory itself refused (it was freed,
// or its file truncated), and what a client answered to a message: DeadlineExceeded for nothing,
// DataLoss for something else than was asked.
class DmaSpace {
 public:
  virtual ~DmaSpace() = default;

  virtual absl::Status Read(std::span<const DmaReadPiece> pieces,
                            DmaAccessPath path = DmaAccessPath::kAuto) = 0;
  virtual absl::Status Write(std::span<const DmaWritePiece> pieces,
                             DmaAccessPath path = DmaAccessPath::kAuto) = 0;

  absl::Status Read(Iova from, std::span<std::byte> into,
                    DmaAccessPath path = DmaAccessPath::kAuto) {
    const DmaReadPiece piece = {from, into};
    return Read({&piece, 1}, path);
  }
  absl::Status Write(Iova to, std::span<const std::byte> from,
                     DmaAccessPath path = DmaAccessPath::kAuto) {
    const DmaWritePiece piece = {to, from};
    return Write({&piece, 1}, path);
  }
};

}  // namespace vfio_user

#endif  // SERVER_DMA_SPACE_H_
