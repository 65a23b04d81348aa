#include "server/dma/dma_transfer.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string_view>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "server/dma/process_memory.h"

namespace vfio_user {
namespace {

// From here on parts of one process's memory are moved together, or one is that is so long. Below,
// the calls for that cost more than they save: a look at the descriptor, two for a write, and what
// it takes to get at another process. What is saved goes by the bytes, of which one copy is saved,
// and by the pieces, each of which is as good as 8 KiB more. See docs/performance.md.
constexpr uint64_t kTogetherFromBytes = 48 << 10;
constexpr uint64_t kPieceCountsAsBytes = 8 << 10;

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

template <typename Byte>
absl::Status Cancelled() {
  return absl::CancelledError(fmt::format("{}: cancelled", kName<Byte>));
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
    // Most pieces of a list are in the mapping of the one before.
    if (parts_.empty() || parts_.back().memory != &memory) shares_.push_back(entry->value);
    Part& part = parts_.emplace_back();
    part.memory = entry->value.get();
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
  VFIO_USER_RETURN_IF_ERROR(RunDirect(token));
  return needs_messenger_ ? RunMessages(*messenger, token) : absl::OkStatus();
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::RunDirect(const DmaCancellation::Token& token) const {
  for (Parts left(parts_); !left.empty();) {
    const Parts together = WorthMovingTogether(left);
    if (!together.empty()) {
      VFIO_USER_RETURN_IF_ERROR(RunTogether(together, token));
    } else if (!left.front().by_message) {
      VFIO_USER_RETURN_IF_ERROR(RunAlone(left.front(), 0, token));
    }
    left = left.subspan(std::max<size_t>(together.size(), 1));
  }
  return absl::OkStatus();
}

template <typename Byte>
const FilePool::OpenFile* DmaTransfer<Byte>::FileOf(const Part& part) {
  const FileWindow* const window = part.by_message ? nullptr : part.memory->file_window();
  return window == nullptr ? nullptr : window->file.get();
}

template <typename Byte>
auto DmaTransfer<Byte>::WorthMovingTogether(Parts parts) -> Parts {
  const FilePool::OpenFile* const file = FileOf(parts.front());
  if (file == nullptr || !file->process.has_value()) return {};
  size_t count = 0;
  uint64_t bytes = 0;
  while (count < parts.size() && FileOf(parts[count]) == file) {
    bytes += kPieceCountsAsBytes + parts[count++].bytes.size();
  }
  return bytes >= kTogetherFromBytes ? parts.first(count) : Parts();
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::RunTogether(Parts parts, const DmaCancellation::Token& token) {
  const ProcessMemory& process = *FileOf(parts.front())->process;
  size_t done = 0;  // Of the first part.
  while (!parts.empty()) {
    if (token.cancelled()) return Cancelled<Byte>();
    const Batch batch = Gather(parts, done);
    const size_t moved = Move(process, batch);
    done += moved;
    while (!parts.empty() && done >= parts.front().bytes.size()) {
      done -= parts.front().bytes.size();
      parts = parts.subspan(1);
    }
    if (moved == batch.bytes) continue;
    // The descriptor may know a way, or else says what is wrong.
    VFIO_USER_RETURN_IF_ERROR(RunAlone(parts.front(), done, token));
    parts = parts.subspan(1);
    done = 0;
  }
  return absl::OkStatus();
}

template <typename Byte>
auto DmaTransfer<Byte>::Gather(Parts parts, size_t done) -> Batch {
  Batch batch;
  for (const Part& part : parts) {
    if (batch.here.size() == IOV_MAX || batch.bytes == kBytesBetweenLooks) break;
    const size_t bytes = std::min(part.bytes.size() - done, kBytesBetweenLooks - batch.bytes);
    const uint64_t address = part.memory->file_window()->offset + part.offset + done;
    // An iovec has no const form; of a write the kernel only reads it.
    batch.here.push_back({const_cast<std::byte*>(part.bytes.data() + done), bytes});
    batch.there.push_back({reinterpret_cast<void*>(address), bytes});
    batch.bytes += bytes;
    done = 0;
  }
  return batch;
}

template <typename Byte>
size_t DmaTransfer<Byte>::Move(const ProcessMemory& process, const Batch& batch) {
  return kIsWrite ? process.Write(batch.here, batch.there) : process.Read(batch.here, batch.there);
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::RunAlone(const Part& part, size_t done,
                                         const DmaCancellation::Token& token) {
  uint64_t offset = part.offset + done;
  for (std::span<Byte> left = part.bytes.subspan(done); !left.empty();) {
    if (token.cancelled()) return Cancelled<Byte>();
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
  absl::InlinedVector<Piece, kInlineParts> pieces;
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
