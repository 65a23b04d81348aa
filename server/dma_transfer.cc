#include "server/dma_transfer.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// So long does a cancelled transfer go on: some milliseconds.
constexpr size_t kBytesBetweenLooks = 8 << 20;

template <typename Byte>
constexpr std::string_view kName = std::is_const_v<Byte> ? "DMA write" : "DMA read";
template <typename Byte>
constexpr DmaMapFlag kNeeded = std::is_const_v<Byte> ? DmaMapFlag::kWrite : DmaMapFlag::kRead;

Iova AddressOf(const DmaReadPiece& piece) { return piece.from; }
Iova AddressOf(const DmaWritePiece& piece) { return piece.to; }
std::span<std::byte> BytesOf(const DmaReadPiece& piece) { return piece.into; }
std::span<const std::byte> BytesOf(const DmaWritePiece& piece) { return piece.from; }

absl::Status MoveBytes(const ClientMemory& memory, uint64_t offset, std::span<std::byte> into) {
  return memory.Read(offset, into);
}
absl::Status MoveBytes(const ClientMemory& memory, uint64_t offset,
                       std::span<const std::byte> from) {
  return memory.Write(offset, from);
}

absl::Status Refused(int error, std::string_view name, Iova at, std::string_view why) {
  return ErrnoStatus(error, fmt::format("{}: {} at {:#x}", name, why, ToU64(at)));
}

}  // namespace

template <typename Byte>
absl::Status DmaTransfer<Byte>::Add(const ClientMemoryTable& table, const Piece& piece,
                                    DmaAccessPath path) {
  Iova at = AddressOf(piece);
  std::span<Byte> bytes = BytesOf(piece);
  if (!bytes.empty() && !LastByte(at, bytes.size())) {
    return Refused(EFAULT, kName<Byte>, at, fmt::format("{} bytes do not fit", bytes.size()));
  }
  while (!bytes.empty()) {
    const ClientMemoryTable::Entry* const entry = table.Find(at);
    if (entry == nullptr) return Refused(EFAULT, kName<Byte>, at, "nothing is mapped");
    const ClientMemory& memory = *entry->value;
    if (!memory.Allows(kNeeded<Byte>)) {
      return Refused(EACCES, kName<Byte>, at, "the mapping is not for it");
    }
    if (path == DmaAccessPath::kDirect && !memory.direct()) {
      return absl::FailedPreconditionError(
          fmt::format("{}: the mapping at {:#x} has no descriptor, want path auto or message",
                      kName<Byte>, ToU64(at)));
    }
    const uint64_t after = ToU64(entry->last) - ToU64(at);  // One less than there are, so no wrap.
    const size_t count = std::min<uint64_t>(bytes.size() - 1, after) + 1;
    const std::span<Byte> part = bytes.first(count);
    if (path == DmaAccessPath::kMessage || !memory.direct()) {
      messages_.push_back(Piece{at, part});
    } else {
      direct_.push_back({&memory, ToU64(at) - ToU64(entry->first), part, at});
    }
    // Pieces of one list are often in one mapping.
    if (used_.empty() || used_.back() != entry->value) used_.push_back(entry->value);
    bytes = bytes.subspan(count);
    at = Iova{ToU64(at) + count};
  }
  return absl::OkStatus();
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::Run(DmaMessenger* messenger,
                                    const DmaCancellation::Token& token) const {
  for (const DirectPiece& piece : direct_) {
    const absl::Status moved = RunDirect(piece, token);
    if (!moved.ok()) {
      return Annotate(moved, fmt::format("{} of {} bytes at {:#x}", kName<Byte>, piece.bytes.size(),
                                         ToU64(piece.at)));
    }
  }
  if (messages_.empty()) return absl::OkStatus();
  const std::span<const Piece> pieces(messages_.data(), messages_.size());
  if constexpr (kIsWrite) {
    return messenger->Write(pieces, token);
  } else {
    return messenger->Read(pieces, token);
  }
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::RunDirect(const DirectPiece& piece,
                                          const DmaCancellation::Token& token) {
  uint64_t offset = piece.offset;
  for (std::span<Byte> left = piece.bytes; !left.empty();) {
    if (token.cancelled()) return absl::CancelledError("cancelled");
    const std::span<Byte> part = left.first(std::min(left.size(), kBytesBetweenLooks));
    VFIO_USER_RETURN_IF_ERROR(MoveBytes(*piece.memory, offset, part));
    offset += part.size();
    left = left.subspan(part.size());
  }
  return absl::OkStatus();
}

template class DmaTransfer<std::byte>;
template class DmaTransfer<const std::byte>;

}  // namespace vfio_user
