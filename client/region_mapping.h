// The parts of a region that are mapped into this process.
#ifndef CLIENT_REGION_MAPPING_H_
#define CLIENT_REGION_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/region_info.h"

namespace vfio_user {

// Memory that the server shares, and may take away again: by cutting off the file, unless the file
// is sealed against that. A plain access to memory that is gone would end this process with SIGBUS,
// so that where there is no seal the kernel copies.
//
// Thread-safe, as far as the memory is. Not to be used in a forked child.
class RegionMapping {
 public:
  // Maps what `info` allows of `file`, which may be invalid: the server sent none. What cannot be
  // mapped is left out, and status() says why; a server's word is held against the file.
  static std::shared_ptr<const RegionMapping> Create(const RegionInfo& info, const UniqueFd& file);

  ~RegionMapping();
  RegionMapping(const RegionMapping&) = delete;
  RegionMapping& operator=(const RegionMapping&) = delete;

  // In order, and apart from each other.
  const std::vector<SparseArea>& areas() const { return areas_; }

  // OK when all that the server offers is mapped, and at least something.
  const absl::Status& status() const { return status_; }

  // Whether the memory stays, so that plain loads and stores are safe.
  bool sealed() const { return sealed_; }

  // The longest start of [offset, offset + length), which is not empty, that is either mapped, and
  // then where, or not mapped.
  struct Piece {
    size_t length = 0;
    std::byte* at = nullptr;  // nullptr when it is not mapped.
  };
  Piece FirstPiece(uint64_t offset, size_t length) const;

  // Moves bytes from and to a piece. Of 1, 2, 4 or 8 bytes, aligned to that, as one access. EFAULT
  // where the server has taken the memory away; a part may have been moved then.
  absl::Status Read(const std::byte* at, std::span<std::byte> into) const;
  absl::Status Write(std::span<const std::byte> from, std::byte* at) const;

 private:
  // What was given to munmap() and what of it is the area.
  struct Mapped {
    void* pages = nullptr;
    size_t bytes = 0;
  };

  RegionMapping() = default;

  absl::Status MapAll(const RegionInfo& info, const UniqueFd& file);
  absl::Status MapArea(const RegionInfo& info, const SparseArea& area, const UniqueFd& file);

  std::vector<SparseArea> areas_;
  std::vector<Mapped> mapped_;  // One for each area.
  absl::Status status_;
  bool sealed_ = false;
  uint64_t page_bytes_ = 0;  // Of the file's pages.
  uint64_t file_bytes_ = 0;  // UINT64_MAX for what has no length.
};

}  // namespace vfio_user

#endif  // CLIENT_REGION_MAPPING_H_
