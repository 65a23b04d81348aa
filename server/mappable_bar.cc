#include "server/mappable_bar.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// Sealed against more seals, too: a client that forbade future writes would do so for its
// successors, and for Clear.
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

absl::StatusOr<UniqueFd> MakeFile(uint64_t bytes) {
  UniqueFd file(::memfd_create("vfio-user-bar", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return ErrnoStatus(errno, "memfd_create");
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    return ErrnoStatus(errno, fmt::format("a memfd of {:#x} bytes", bytes));
  }
  if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) return ErrnoStatus(errno, "F_ADD_SEALS");
  return file;
}

// The longest atomic access that starts at `address` and has at most `left` bytes.
size_t PieceBytes(const std::byte* address, size_t left) {
  const size_t aligned = size_t{1} << std::countr_zero(std::bit_cast<uintptr_t>(address) | 8);
  return std::min(aligned, std::bit_floor(left));
}

template <typename T>
void LoadAs(std::byte* from, std::byte* into) {
  const T value = std::atomic_ref<T>(*reinterpret_cast<T*>(from)).load(std::memory_order_acquire);
  std::memcpy(into, &value, sizeof(value));
}

template <typename T>
void StoreAs(std::byte* into, const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  std::atomic_ref<T>(*reinterpret_cast<T*>(into)).store(value, std::memory_order_release);
}

void Load(std::byte* from, std::byte* into, size_t bytes) {
  if (bytes == 8) return LoadAs<uint64_t>(from, into);
  if (bytes == 4) return LoadAs<uint32_t>(from, into);
  if (bytes == 2) return LoadAs<uint16_t>(from, into);
  LoadAs<uint8_t>(from, into);
}

void Store(std::byte* into, const std::byte* from, size_t bytes) {
  if (bytes == 8) return StoreAs<uint64_t>(into, from);
  if (bytes == 4) return StoreAs<uint32_t>(into, from);
  if (bytes == 2) return StoreAs<uint16_t>(into, from);
  StoreAs<uint8_t>(into, from);
}

}  // namespace

absl::StatusOr<MappableBar> MappableBar::Create(uint64_t bytes) {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  if (!std::has_single_bit(bytes) || bytes < page) {
    return absl::InvalidArgumentError(fmt::format(
        "a mappable BAR of {:#x} bytes, want a power of two from {:#x} on", bytes, page));
  }
  VFIO_USER_ASSIGN_OR_RETURN(UniqueFd file, MakeFile(bytes));
  void* const pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (pages == MAP_FAILED) return ErrnoStatus(errno, fmt::format("mmap of {:#x} bytes", bytes));
  return MappableBar(std::make_shared<const UniqueFd>(std::move(file)),
                     {static_cast<std::byte*>(pages), bytes});
}

MappableBar::MappableBar(MappableBar&& other) noexcept
    : file_(std::move(other.file_)), memory_(std::exchange(other.memory_, {})) {}

MappableBar::~MappableBar() {
  if (!memory_.empty()) ::munmap(memory_.data(), memory_.size());
}

absl::Status MappableBar::Read(uint64_t offset, std::span<std::byte> into) const {
  VFIO_USER_RETURN_IF_ERROR(Check(offset, into.size()));
  std::byte* from = memory_.data() + offset;
  for (size_t done = 0; done < into.size();) {
    const size_t bytes = PieceBytes(from + done, into.size() - done);
    Load(from + done, into.data() + done, bytes);
    done += bytes;
  }
  return absl::OkStatus();
}

absl::Status MappableBar::Write(uint64_t offset, std::span<const std::byte> from) {
  VFIO_USER_RETURN_IF_ERROR(Check(offset, from.size()));
  std::byte* into = memory_.data() + offset;
  for (size_t done = 0; done < from.size();) {
    const size_t bytes = PieceBytes(into + done, from.size() - done);
    Store(into + done, from.data() + done, bytes);
    done += bytes;
  }
  return absl::OkStatus();
}

void MappableBar::Clear() {
  // Cannot fail on a memfd that may be written, whose pages are whole.
  (void)::fallocate(file_->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                    static_cast<off_t>(memory_.size()));
}

absl::Status MappableBar::Check(uint64_t offset, size_t bytes) const {
  if (offset <= memory_.size() && bytes <= memory_.size() - offset) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{:#x} + {:#x} is beyond the {:#x} bytes of the BAR", offset, bytes, memory_.size()));
}

}  // namespace vfio_user
