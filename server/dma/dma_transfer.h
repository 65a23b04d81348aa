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
#include "server/dma/memory_use.h"
#include "server/dma/process_memory.h"
#include "server/dma_space.h"

namespace vfio_user {

using ClientMemoryTable = DmaRangeTable<std::shared_ptr<ClientMemory>>;

// First all pieces are looked up (Add), then all are moved (Run). What was found has to stay there
// until then: see MemoryUses. Nothing is allocated for a direct transfer of up to kInlineParts.
// Thread-compatible.
//
// `Byte` is std::byte for a read, and const std::byte for a write.
template <typename Byte>
class DmaTransfer {
 public:
  static constexpr bool kIsWrite = std::is_const_v<Byte>;
  using Piece = std::conditional_t<kIsWrite, DmaWritePiece, DmaReadPiece>;

  // The whole of a transfer that is one short piece within memory that is mapped here and cannot go
  // away, and that may be reached so: for while the table is locked. False, and nothing has
  // happened, for any other, which may be an error.
  static bool MoveAtOnce(const ClientMemoryTable& table, ClientMemoryTable::Recent& recent,
                         const Piece& piece);

  DmaTransfer() = default;
  DmaTransfer(const DmaTransfer&) = delete;
  DmaTransfer& operator=(const DmaTransfer&) = delete;

  // OutOfRange (EFAULT) unless all of the piece is mapped, PermissionDenied (EACCES) where a
  // mapping is for the other direction, FailedPrecondition where `path` is kDirect and a mapping
  // has no descriptor.
  absl::Status Add(const ClientMemoryTable& table, ClientMemoryTable::Recent& recent,
                   const Piece& piece, DmaAccessPath path);

  bool needs_messenger() const { return needs_messenger_; }
  MemoryUse& use() { return use_; }

  // `messenger` may be nullptr where none is needed. Direct parts first. Where many of them, or
  // long ones, are memory of one process, they are moved together: see ProcessMemory.
  absl::Status Run(DmaMessenger* messenger, const DmaCancellation::Token& token) const;

 private:
  // For as many, a transfer is on the stack of who makes it: 8 KiB at most.
  static constexpr size_t kInlineParts = MemoryUse::kInline;

  // What of a piece lies in one mapping.
  struct Part {
    const ClientMemory* memory = nullptr;
    uint64_t offset = 0;  // Into the mapping.
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

  // What RunDirect does of one short part that is direct, which is what most transfers are.
  static absl::Status RunAlone(const Part& part, const DmaCancellation::Token& token);
  absl::Status RunDirect(const DmaCancellation::Token& token) const;
  // nullptr where no file is read or written.
  static const FilePool::OpenFile* FileOf(const Part& part);
  // Of `parts`, which is not empty and whose first `done` bytes are moved, those at the beginning
  // that one call should move; or none.
  static Parts WorthMovingTogether(Parts parts, size_t done);
  static Batch Gather(Parts parts, size_t done);
  static size_t Move(const ProcessMemory& process, const Batch& batch);
  static absl::Status Failed(const absl::Status& status, const Part& part);
  absl::Status RunMessages(DmaMessenger& messenger, const DmaCancellation::Token& token) const;

  absl::InlinedVector<Part, kInlineParts> parts_;
  MemoryUse use_;
  bool needs_messenger_ = false;
};

extern template class DmaTransfer<std::byte>;
extern template class DmaTransfer<const std::byte>;

}  // namespace vfio_user

#endif  // SERVER_DMA_DMA_TRANSFER_H_
