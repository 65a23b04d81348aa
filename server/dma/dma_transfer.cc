#include "server/dma/dma_transfer.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

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
  return ErrnoStatus(error, fmt::format("{} at {:#x}: {}", name, ToU64(at), why));
}

}  // namespace

template <typename Byte>
absl::Status DmaTransfer<Byte>::Add(ClientMemoryTable& table, const Piece& piece,
                                    DmaAccessPath path) {
  Iova at = AddressOf(piece);
  std::span<Byte> bytes = BytesOf(piece);
  if (!bytes.empty() && !LastByte(at, bytes.size())) {
    return Refused(EFAULT, kName<Byte>, at, "the piece passes the last address");
  }
  while (!bytes.empty()) {
    const ClientMemoryTable::Entry* const entry = table.Find(at);
    if (entry == nullptr) return Refused(EFAULT, kName<Byte>, at, "nothing is mapped");
    const ClientMemory& memory = *entry->value;
    if (!memory.Allows(kNeeded<Byte>)) {
      return Refused(EACCES, kName<Byte>, at, "the mapping is not for this direction");
    }
    if (path == DmaAccessPath::kDirect && !memory.direct()) {
      return absl::FailedPreconditionError(
          fmt::format("{} at {:#x}: the mapping has no descriptor, want path auto or message",
                      kName<Byte>, ToU64(at)));
    }
    const uint64_t after = ToU64(entry->last) - ToU64(at);  // One less than there are, so no wrap.
    const size_t count = std::min<uint64_t>(bytes.size() - 1, after) + 1;
    Part& part = parts_.emplace_back();
    part.memory = entry->value;
    part.offset = ToU64(at) - ToU64(entry->first);
    part.at = at;
    part.bytes = bytes.first(count);
    part.by_message = path == DmaAccessPath::kMessage || !memory.direct();
    needs_messenger_ |= part.by_message;
    bytes = bytes.subspan(count);
    at = Iova{ToU64(at) + count};
  }
  return absl::OkStatus();
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::Run(DmaMessenger* messenger,
                                    const DmaCancellation::Token& token) const {
  for (const Part& part : parts_) VFIO_USER_RETURN_IF_ERROR(RunDirect(part, token));
  return needs_messenger_ ? RunMessages(*messenger, token) : absl::OkStatus();
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::RunDirect(const Part& part, const DmaCancellation::Token& token) {
  if (part.by_message) return absl::OkStatus();
  uint64_t offset = part.offset;
  for (std::span<Byte> left = part.bytes; !left.empty();) {
    if (token.cancelled()) return absl::CancelledError(fmt::format("{}: cancelled", kName<Byte>));
    const std::span<Byte> next = left.first(std::min(left.size(), kBytesBetweenLooks));
    const absl::Status moved = MoveBytes(*part.memory, offset, next);
    if (!moved.ok()) {
      return Annotate(moved, fmt::format("{} of {} bytes at {:#x}", kName<Byte>, part.bytes.size(),
                                         ToU64(part.at)));
    }
    offset += next.size();
    left = left.subspan(next.size());
  }
  return absl::OkStatus();
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::RunMessages(DmaMessenger& messenger,
                                            const DmaCancellation::Token& token) const {
  std::vector<Piece> pieces;
  for (const Part& part : parts_) {
    if (part.by_message) pieces.push_back({part.at, part.bytes});
  }
  if constexpr (kIsWrite) {
    return messenger.Write(pieces, token);
  } else {
    return messenger.Read(pieces, token);
  }
}

template class DmaTransfer<std::byte>;
template class DmaTransfer<const std::byte>;

}  // namespace vfio_user
