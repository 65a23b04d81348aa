// Memory of a client that has a file, mapped into this process.
#ifndef SERVER_DMA_MAPPED_FILE_H_
#define SERVER_DMA_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "server/dma/mapping_budget.h"

namespace vfio_user {

struct FileRange {
  uint64_t offset = 0;  // In bytes; any alignment.
  uint64_t size = 0;    // In bytes; not 0.
};

// Owns the mapping, and no descriptor: the kernel keeps the file for it.
//
// The client can truncate the file at any time, and a plain access beyond its new end would be
// answered with SIGBUS. So the kernel copies, which costs more, unless the file is sealed against
// shrinking. Thread-safe: what two transfers do to the same bytes is between client and device.
class MappedFile {
 public:
  // Maps `range` of `file` for `access`. InvalidArgument (EINVAL) for a range beyond a regular
  // file's end, else what mmap() says: ENODEV for what cannot be mapped (/proc/<pid>/mem), EACCES
  // for a descriptor that was opened for less than `access`, ENOMEM. ResourceExhausted (ENOSPC)
  // when `budget`, which must outlive the mapping, is used up.
  static absl::StatusOr<MappedFile> Map(FdView file, FileRange range, DmaMapFlags access,
                                        MappingBudget& budget = MappingBudget::OfThisProcess());

  MappedFile(MappedFile&& other) noexcept
      : view_(std::exchange(other.view_, {})), share_(std::move(other.share_)) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  // The range, where no access can fail, or wait for more than a page of memory; else nullptr.
  std::byte* sealed_data() const { return view_.sealed ? view_.data : nullptr; }

  // `offset` is into the range, and all of the bytes must be in it. Aborted (EIO) where the client
  // has truncated the file; then a part has been moved.
  absl::Status Read(uint64_t offset, std::span<std::byte> into) const;
  absl::Status Write(uint64_t offset, std::span<const std::byte> from) const;

 private:
  struct View {
    void* pages = nullptr;  // nullptr once moved from.
    size_t pages_bytes = 0;
    std::byte* data = nullptr;  // Of the range, somewhere in the first page.
    bool sealed = false;        // The file cannot shrink.
  };

  MappedFile(const View& view, MappingBudget::Share share)
      : view_(view), share_(std::move(share)) {}

  View view_;
  MappingBudget::Share share_;
};

}  // namespace vfio_user

#endif  // SERVER_DMA_MAPPED_FILE_H_
