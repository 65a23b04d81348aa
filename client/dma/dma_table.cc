#include "client/dma/dma_table.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// `alignment` is a power of two. nullopt beyond 2^64 - 1.
std::optional<uint64_t> AlignUp(uint64_t address, uint64_t alignment) {
  const uint64_t mask = alignment - 1;
  if (address > UINT64_MAX - mask) return std::nullopt;
  return (address + mask) & ~mask;
}

bool IsSame(const IovaWindow& one, const IovaWindow& other) {
  return one.first == other.first && one.length == other.length && one.alignment == other.alignment;
}

absl::Status CheckMemory(uint64_t size) {
  if (size > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("mapping of 0 bytes, want at least 1");
}

absl::Status CheckWindow(const IovaWindow& window) {
  if (!LastByte(window.first, window.length)) {
    return absl::InvalidArgumentError(fmt::format(
        "window [{:#x}, +{:#x}) is empty or passes 2^64 - 1", ToU64(window.first), window.length));
  }
  if (!std::has_single_bit(window.alignment)) {
    return absl::InvalidArgumentError(
        fmt::format("alignment is {:#x}, want a power of two", window.alignment));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DmaTable::Insert(Iova iova, const DmaMemory& memory) {
  VFIO_USER_RETURN_IF_ERROR(CheckMemory(memory.size));
  MutexLock lock(mu_);
  return InsertLocked(iova, memory);
}

absl::StatusOr<Iova> DmaTable::InsertIn(const IovaWindow& window, const DmaMemory& memory) {
  VFIO_USER_RETURN_IF_ERROR(CheckMemory(memory.size));
  VFIO_USER_RETURN_IF_ERROR(CheckWindow(window));
  MutexLock lock(mu_);
  const std::optional<uint64_t> address = LowestFree(window, memory.size);
  if (!address) {
    return absl::ResourceExhaustedError(
        fmt::format("window [{:#x}, +{:#x}) has no room for {:#x} bytes more", ToU64(window.first),
                    window.length, memory.size));
  }
  VFIO_USER_RETURN_IF_ERROR(InsertLocked(Iova{*address}, memory));
  return Iova{*address};
}

void DmaTable::Erase(Iova iova) {
  MutexLock lock(mu_);
  while (true) {
    // Looked up anew after each wait: others come and go meanwhile, and move it.
    const auto found = entries_.find(ToU64(iova));
    if (found == entries_.end()) return;
    if (found->second.uses == 0) return EraseLocked(found);
    found->second.leaving = true;
    released_.Wait(mu_);
  }
}

absl::StatusOr<DmaTable::Use> DmaTable::Find(Iova address, uint64_t count, DmaMapFlag access) {
  const uint64_t first = ToU64(address);
  MutexLock lock(mu_);
  const auto found = FirstEndingAt(first);
  const bool inside = found != entries_.end() && found->first <= first && !found->second.leaving &&
                      (count == 0 || count - 1 <= found->second.last - first);
  if (!inside) {
    return ErrnoStatus(EFAULT, fmt::format("[{:#x}, +{:#x}) is not in one mapping", first, count));
  }
  if (!found->second.memory.access.Has(access)) {
    return ErrnoStatus(
        EACCES, fmt::format("[{:#x}, +{:#x}) is mapped for the other direction", first, count));
  }
  ++found->second.uses;
  const DmaMemory& memory = found->second.memory;
  // Not as pointers: memory that is all of the address space starts where no object is.
  auto* const data =
      std::bit_cast<std::byte*>(std::bit_cast<uintptr_t>(memory.data) + (first - found->first));
  return Use(this, {Iova{found->first}, memory.size}, data);
}

size_t DmaTable::size() const {
  MutexLock lock(mu_);
  return entries_.size();
}

DmaTable::Entries::iterator DmaTable::FirstEndingAt(uint64_t address) {
  const auto above = entries_.upper_bound(address);
  if (above == entries_.begin()) return above;
  const auto below = std::prev(above);
  return below->second.last >= address ? below : above;
}

void DmaTable::EraseLocked(Entries::iterator entry) {
  if (full_ && entry->first < full_->from) {
    // The room that this leaves begins where the mapping before it ends.
    uint64_t from = ToU64(full_->window.first);
    if (entry != entries_.begin()) from = std::max(from, std::prev(entry)->second.last + 1);
    full_->from = std::min(full_->from, *AlignUp(from, full_->window.alignment));
  }
  entries_.erase(entry);
}

std::optional<uint64_t> DmaTable::LowestFree(const IovaWindow& window, uint64_t size) {
  const std::optional<uint64_t> first = AlignUp(ToU64(window.first), window.alignment);
  if (!first) return std::nullopt;
  const bool known = full_ && IsSame(full_->window, window);
  const bool helps = known && size >= full_->size;
  const std::optional<uint64_t> found = LowestFreeFrom(helps ? full_->from : *first, window, size);
  // A larger mapping passes over room that a smaller one can have.
  if (found && (!known || size <= full_->size)) full_ = {window, size, *found};
  return found;
}

std::optional<uint64_t> DmaTable::LowestFreeFrom(uint64_t from, const IovaWindow& window,
                                                 uint64_t size) {
  const uint64_t window_last = ToU64(*LastByte(window.first, window.length));
  std::optional<uint64_t> candidate = from;
  auto entry = FirstEndingAt(*candidate);
  while (candidate && *candidate <= window_last && size - 1 <= window_last - *candidate) {
    if (entry == entries_.end() || entry->first > *candidate + (size - 1)) return candidate;
    if (entry->second.last == UINT64_MAX) return std::nullopt;
    candidate = AlignUp(entry->second.last + 1, window.alignment);
    ++entry;
  }
  return std::nullopt;
}

absl::Status DmaTable::InsertLocked(Iova iova, const DmaMemory& memory) {
  const std::optional<Iova> last = LastByte(iova, memory.size);
  if (!last) {
    return absl::InvalidArgumentError(
        fmt::format("mapping at [{:#x}, +{:#x}) passes 2^64 - 1", ToU64(iova), memory.size));
  }
  const auto next = FirstEndingAt(ToU64(iova));
  if (next != entries_.end() && next->first <= ToU64(*last)) {
    return absl::AlreadyExistsError(
        fmt::format("[{:#x}, +{:#x}) overlaps [{:#x}, +{:#x}), which is mapped", ToU64(iova),
                    memory.size, next->first, next->second.memory.size));
  }
  entries_.emplace(ToU64(iova), Entry{.last = ToU64(*last), .memory = memory});
  return absl::OkStatus();
}

void DmaTable::Release(uint64_t first) {
  MutexLock lock(mu_);
  Entry& entry = entries_.at(first);
  if (--entry.uses == 0 && entry.leaving) released_.NotifyAll();
}

}  // namespace vfio_user
