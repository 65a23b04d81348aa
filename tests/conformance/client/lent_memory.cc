#include "tests/conformance/client/lent_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {
namespace {

constexpr size_t kPagesBytes = 4 * 4096;
constexpr size_t kFirst = 4096 + 61;  // Of the lent part.

// Different in each byte's neighbours, and never 0, which is what fresh memory has.
uint8_t Paint(size_t at) { return static_cast<uint8_t>(1 + at % 251); }

}  // namespace

void LentMemory::Unmapper::operator()(std::byte* pages) const { ::munmap(pages, kPagesBytes); }

absl::StatusOr<LentMemory> LentMemory::Create(LentAccess access) {
  UniqueFd file(::memfd_create("lent", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, "memfd_create");
  if (::ftruncate(file.get(), kPagesBytes) != 0) return ErrnoStatus(errno, "ftruncate");
  void* const pages =
      ::mmap(nullptr, kPagesBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (pages == MAP_FAILED) return ErrnoStatus(errno, "mmap");
  return LentMemory(std::move(file), static_cast<std::byte*>(pages), access);
}

LentMemory::LentMemory(UniqueFd file, std::byte* pages, LentAccess access)
    : file_(std::move(file)), pages_(pages), expected_(kPagesBytes), access_(access) {
  for (size_t at = 0; at < kPagesBytes; ++at) expected_[at] = Paint(at);
  std::memcpy(pages, expected_.data(), kPagesBytes);
}

std::span<std::byte> LentMemory::bytes() const { return {pages_.get() + kFirst, kBytes}; }

uint64_t LentMemory::file_offset() const { return kFirst; }

std::vector<uint8_t> LentMemory::Painted(size_t offset, size_t count) const {
  const auto first = expected_.begin() + static_cast<ptrdiff_t>(kFirst + offset);
  return {first, first + static_cast<ptrdiff_t>(count)};
}

void LentMemory::ExpectWritten(size_t offset, std::span<const uint8_t> data) {
  std::ranges::copy(data, expected_.begin() + static_cast<ptrdiff_t>(kFirst + offset));
}

absl::Status LentMemory::CheckIntact() const {
  // Past the eyes of the compiler, which does not know who else writes here.
  std::vector<uint8_t> found(kPagesBytes);
  if (::pread(file_.get(), found.data(), found.size(), 0) != static_cast<ssize_t>(found.size())) {
    return ErrnoStatus(errno, "reading the lent memory");
  }
  const auto [got, want] = std::ranges::mismatch(found, expected_);
  if (want == expected_.end()) return absl::OkStatus();
  return absl::InternalError(
      fmt::format("the byte at {} of the {} that were lent is {:#x}, want {:#x}",
                  want - expected_.begin() - static_cast<ptrdiff_t>(kFirst), kBytes, *got, *want));
}

}  // namespace vfio_user
