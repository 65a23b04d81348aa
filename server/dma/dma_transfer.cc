#include "server/dma/dma_transfer.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
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

// So much is copied in less time than it takes two processors to agree on a lock.
constexpr size_t kAtOnceBytes = 4096;

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
absl::Status DmaTransfer<Byte>::Add(const ClientMemoryTable& table,
                                    ClientMemoryTable::Recent& recent, const Piece& piece,
                                    DmaAccessPath path) {
  Iova at = AddressOf(piece);
  std::span<Byte> bytes = BytesOf(piece);
  if (!bytes.empty() && !LastByte(at, bytes.size())) {
    return Refused(EFAULT, kName<Byte>, at, "the piece passes the last address");
  }
  while (!bytes.empty()) {
    const ClientMemoryTable::Entry* const entry = table.Find(at, recent);
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
    use_.Add(memory);
    Part& part = parts_.emplace_back();
    part.memory = &memory;
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
bool DmaTransfer<Byte>::MoveAtOnce(const ClientMemoryTable& table,
                                   ClientMemoryTable::Recent& recent, const Piece& piece) {
  const Iova at = AddressOf(piece);
  const std::span<Byte> bytes = BytesOf(piece);
  if (bytes.empty() || bytes.size() > kAtOnceBytes) return false;
  const ClientMemoryTable::Entry* const entry = table.Find(at, recent);
  if (entry == nullptr || bytes.size() - 1 > ToU64(entry->last) - ToU64(at)) return false;
  std::byte* const memory = entry->value->sealed_data();
  if (memory == nullptr || !entry->value->Allows(kNeeded<Byte>)) return false;
  std::byte* const there = memory + (ToU64(at) - ToU64(entry->first));
  if constexpr (kIsWrite) {
    std::memcpy(there, bytes.data(), bytes.size());
  } else {
    std::memcpy(bytes.data(), there, bytes.size());
  }
  return true;
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::Run(DmaMessenger* messenger,
                                    const DmaCancellation::Token& token) const {
  if (needs_messenger_) {
    VFIO_USER_RETURN_IF_ERROR(RunDirect(token));
    return RunMessages(*messenger, token);
  }
  const bool alone =
      parts_.size() == 1 && parts_.front().bytes.size() < kTogetherFromBytes - kPieceCountsAsBytes;
  return alone ? RunAlone(parts_.front(), token) : RunDirect(token);
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::RunAlone(const Part& part, const DmaCancellation::Token& token) {
  if (token.cancelled()) return Cancelled<Byte>();
  const absl::Status status = MoveBytes(*part.memory, part.offset, part.bytes);
  return status.ok() ? status : Failed(status, part);
}

template <typename Byte>
absl::Status DmaTransfer<Byte>::RunDirect(const DmaCancellation::Token& token) const {
  Parts left(parts_);
  size_t done = 0;     // Of the first part of `left`, in bytes.
  bool alone = false;  // The rest of it goes through its descriptor, which may know a way.
  while (!left.empty()) {
    const Part& part = left.front();
    if (part.by_message) {
      left = left.subspan(1);
      continue;
    }
    if (token.cancelled()) return Cancelled<Byte>();
    const Parts together = alone ? Parts() : WorthMovingTogether(left, done);
    size_t wanted = std::min(part.bytes.size() - done, kBytesBetweenLooks);
    size_t moved = wanted;
    if (!together.empty()) {
      const Batch batch = Gather(together, done);
      wanted = batch.bytes;
      moved = Move(*FileOf(part)->process, batch);
    } else {
      const absl::Status status =
          MoveBytes(*part.memory, part.offset + done, part.bytes.subspan(done, wanted));
      if (!status.ok()) return Failed(status, part);
    }
    const size_t parts_left = left.size();
    for (done += moved; !left.empty() && done >= left.front().bytes.size();) {
      done -= left.front().bytes.size();
      left = left.subspan(1);
    }
    alone = moved < wanted || (alone && left.size() == parts_left);
  }
  return absl::OkStatus();
}

template <typename Byte>
const FilePool::OpenFile* DmaTransfer<Byte>::FileOf(const Part& part) {
  const FileWindow* const window = part.by_message ? nullptr : part.memory->file_window();
  return window == nullptr ? nullptr : window->file.get();
}

template <typename Byte>
auto DmaTransfer<Byte>::WorthMovingTogether(Parts parts, size_t done) -> Parts {
  const FilePool::OpenFile* const file = FileOf(parts.front());
  if (file == nullptr || !file->process.has_value()) return {};
  size_t count = 0;
  uint64_t bytes = 0;
  while (count < std::min<size_t>(parts.size(), IOV_MAX) && bytes < kBytesBetweenLooks &&
         FileOf(parts[count]) == file) {
    bytes += kPieceCountsAsBytes + parts[count++].bytes.size() - done;
    done = 0;
  }
  return bytes >= kTogetherFromBytes ? parts.first(count) : Parts();
}

template <typename Byte>
auto DmaTransfer<Byte>::Gather(Parts parts, size_t done) -> Batch {
  Batch batch;
  for (const Part& part : parts) {
    const size_t bytes = std::min(part.bytes.size() - done, kBytesBetweenLooks - batch.bytes);
    if (bytes == 0) break;
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
absl::Status DmaTransfer<Byte>::Failed(const absl::Status& status, const Part& part) {
  return Annotate(status, fmt::format("{} of {} bytes at {:#x}", kName<Byte>, part.bytes.size(),
                                      ToU64(part.at)));
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
