// One transfer between buffers of a device and memory of the client.
#ifndef SERVER_DMA_DMA_TRANSFER_H_
#define SERVER_DMA_DMA_TRANSFER_H_

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
#include "server/dma_space.h"

namespace vfio_user {

using ClientMemoryTable = DmaRangeTable<std::shared_ptr<ClientMemory>>;

// First all pieces are looked up (Add), then all are moved (Run), without the table: what was found
// stays usable until the transfer is destroyed, although it may be unmapped meanwhile. Nothing is
// allocated for a transfer within one mapping. Thread-compatible.
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

  // `messenger` may be nullptr where none is needed. Direct parts first.
  absl::Status Run(DmaMessenger* messenger, const DmaCancellation::Token& token) const;

 private:
  // What of a piece lies in one mapping.
  struct Part {
    std::shared_ptr<const ClientMemory> memory;
    uint64_t offset = 0;  // Into the mapping.
    Iova at{};
    std::span<Byte> bytes;
    bool by_message = false;
  };

  static absl::Status RunDirect(const Part& part, const DmaCancellation::Token& token);
  absl::Status RunMessages(DmaMessenger& messenger, const DmaCancellation::Token& token) const;

  absl::InlinedVector<Part, 1> parts_;
  bool needs_messenger_ = false;
};

extern template class DmaTransfer<std::byte>;
extern template class DmaTransfer<const std::byte>;

}  // namespace vfio_user

#endif  // SERVER_DMA_DMA_TRANSFER_H_
