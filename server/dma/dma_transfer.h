// One transfer between buffers of a device and memory of the client.
#ifndef SERVER_DMA_DMA_TRANSFER_H_
#define SERVER_DMA_DMA_TRANSFER_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_memory.h"
#include "server/dma/dma_cancellation.h"
#include "server/dma/dma_messenger.h"
#include "server/dma/dma_range_table.h"
#include "server/dma/file_pool.h"
#include "server/dma/process_memory.h"
#include "server/dma_space.h"

namespace vfio_user {

using ClientMemoryTable = DmaRangeTable<std::shared_ptr<ClientMemory>>;

// First all pieces are looked up (Add), then all are moved (Run), without the table: what was found
// stays usable until the transfer is destroyed, although it may be unmapped meanwhile. Nothing is
// allocated for a direct transfer of up to kInlineParts. Thread-compatible.
//
// `Byte` is std::byte for a read, and const std::byte for a write.
template <typename Byte>
class DmaTransfer {
 public:
  static constexpr bool kIsWrite = std::is_const_v<Byte>;
  using Piece = std::conditional_t<kIsWrite, DmaWritePiece, DmaReadPiece>;

  DmaTransfer() = default;
  DmaTransfer(const DmaTransfer&) = delete;
  DmaTransfer& operator=(const DmaTransfer&) = delete;

  // OutOfRange (EFAULT) unless all of the piece is mapped, PermissionDenied (EACCES) where a
  // mapping is for the other direction, FailedPrecondition where `path` is kDirect and a mapping
  // has no descriptor.
  absl::Status Add(ClientMemoryTable& table, const Piece& piece, DmaAccessPath path);

  bool needs_messenger() const { return needs_messenger_; }

  // `messenger` may be nullptr where none is needed. Direct parts first. Where many of them, or
  // long ones, are memory of one process, they are moved together: see ProcessMemory.
  absl::Status Run(DmaMessenger* messenger, const DmaCancellation::Token& token) const;

 private:
  // For as many, a transfer is on the stack of who makes it: 8 KiB at most.
  static constexpr size_t kInlineParts = 64;

  // What of a piece lies in one mapping.
  struct Part {
    const ClientMemory* memory = nullptr;  // One of shares_.
    uint64_t offset = 0;                   // Into the mapping.
    Iova at{};
    std::span<Byte> bytes;
    bool by_message = false;
  };

  using Parts = std::span<const Part>;

  // For a call that moves many parts, or some of a long one.
  struct Batch {
    absl::InlinedVector<iovec, kInlineParts> here;
    absl::InlinedVector<iovec, kInlineParts> there;
    size_t bytes = 0;
  };

  absl::Status RunDirect(const DmaCancellation::Token& token) const;
  // nullptr where no file is read or written.
  static const FilePool::OpenFile* FileOf(const Part& part);
  // Those at the beginning of `parts`, which is not empty, or none.
  static Parts WorthMovingTogether(Parts parts);
  static absl::Status RunTogether(Parts parts, const DmaCancellation::Token& token);
  // Of `parts` without the first `done` bytes, as much as is moved at once.
  static Batch Gather(Parts parts, size_t done);
  static size_t Move(const ProcessMemory& process, const Batch& batch);
  // All of the part but its first `done` bytes.
  static absl::Status RunAlone(const Part& part, size_t done, const DmaCancellation::Token& token);
  absl::Status RunMessages(DmaMessenger& messenger, const DmaCancellation::Token& token) const;

  absl::InlinedVector<Part, kInlineParts> parts_;
  absl::InlinedVector<std::shared_ptr<const ClientMemory>, kInlineParts> shares_;
  bool needs_messenger_ = false;
};

extern template class DmaTransfer<std::byte>;
extern template class DmaTransfer<const std::byte>;

}  // namespace vfio_user

#endif  // SERVER_DMA_DMA_TRANSFER_H_
