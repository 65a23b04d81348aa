// One transfer between buffers of a device and memory of the client.
#ifndef SERVER_DMA_TRANSFER_H_
#define SERVER_DMA_TRANSFER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/client_memory.h"
#include "server/dma_cancellation.h"
#include "server/dma_messenger.h"
#include "server/dma_range_table.h"
#include "server/dma_space.h"

namespace vfio_user {

using ClientMemoryTable = DmaRangeTable<std::shared_ptr<ClientMemory>>;

// First all pieces are looked up (Add), then all are moved (Run), without the table: what was found
// stays usable until the transfer is destroyed, although it may be unmapped meanwhile. Nothing is
// allocated for a transfer of one piece in one mapping. Thread-compatible.
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
  absl::Status Add(const ClientMemoryTable& table, const Piece& piece, DmaAccessPath path);

  bool needs_messenger() const { return !messages_.empty(); }

  // `messenger` may be nullptr where none is needed. Direct pieces first.
  absl::Status Run(DmaMessenger* messenger, const DmaCancellation::Token& token) const;

 private:
  struct DirectPiece {
    const ClientMemory* memory;  // One of used_.
    uint64_t offset;             // Into the mapping.
    std::span<Byte> bytes;
    Iova at;
  };

  static absl::Status RunDirect(const DirectPiece& piece, const DmaCancellation::Token& token);

  absl::InlinedVector<std::shared_ptr<const ClientMemory>, 2> used_;
  absl::InlinedVector<DirectPiece, 2> direct_;
  absl::InlinedVector<Piece, 2> messages_;
};

extern template class DmaTransfer<std::byte>;
extern template class DmaTransfer<const std::byte>;

}  // namespace vfio_user

#endif  // SERVER_DMA_TRANSFER_H_
