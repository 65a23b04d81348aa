// Memory that a check lends to the device, painted so that every wrong byte shows.
#ifndef TESTS_CONFORMANCE_CLIENT_LENT_MEMORY_H_
#define TESTS_CONFORMANCE_CLIENT_LENT_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

enum class LentAccess { kReadWrite, kReadOnly };

// Some bytes in the middle of pages of which the rest is painted too: a client that copies past
// either end shows it. The memory is a file's, for an adapter whose client is another process.
// Thread-compatible.
class LentMemory {
 public:
  // Neither the length nor the place is a multiple of anything.
  static constexpr size_t kBytes = 5001;

  static absl::StatusOr<LentMemory> Create(LentAccess access = LentAccess::kReadWrite);

  std::span<std::byte> bytes() const;
  LentAccess access() const { return access_; }
  FdView fd() const { return file_; }
  uint64_t file_offset() const;

  // What the device reads in [offset, offset + count) of the lent part.
  std::vector<uint8_t> Painted(size_t offset, size_t count) const;

  // Notes that the device wrote `data`, for CheckIntact.
  void ExpectWritten(size_t offset, std::span<const uint8_t> data);

  // OK if every byte, lent or not, is as painted or as it was expected to be written.
  absl::Status CheckIntact() const;

 private:
  struct Unmapper {
    void operator()(std::byte* pages) const;
  };

  LentMemory(UniqueFd file, std::byte* pages, LentAccess access);

  UniqueFd file_;
  std::unique_ptr<std::byte, Unmapper> pages_;
  std::vector<uint8_t> expected_;  // All of the pages.
  LentAccess access_;
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_LENT_MEMORY_H_
