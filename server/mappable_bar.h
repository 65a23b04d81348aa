// Memory for a BAR that clients may map.
#ifndef SERVER_MAPPABLE_BAR_H_
#define SERVER_MAPPABLE_BAR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/region_info.h"
#include "server/pci_description.h"

namespace vfio_user {

// Owns the memory's mapping in this process, and with the description shares the file behind it: a
// memfd whose size is sealed, so that no client can take the memory away from under the device.
//
// Clients change it at any time and without a message. So do clients that are gone, as long as they
// keep their mapping: it is no place for what one client must not see of another.
//
// Thread-safe: an access of 1, 2, 4 or 8 bytes at a multiple of its length is atomic, on either
// side; a longer one is several of these.
class MappableBar {
 public:
  // All 0. `bytes` is a power of two, as of any BAR, and at least a page. ResourceExhausted where
  // no descriptor or memory is to be had.
  static absl::StatusOr<MappableBar> Create(uint64_t bytes);

  MappableBar(MappableBar&& other) noexcept;
  MappableBar& operator=(MappableBar&&) = delete;
  ~MappableBar();

  uint64_t size() const { return memory_.size(); }

  // For BarDescription::memory. `areas` as there: empty for all of the BAR.
  MappableMemory Describe(std::vector<SparseArea> areas = {}) const {
    return {.file = file_, .areas = std::move(areas)};
  }

  // Any length and alignment. InvalidArgument (EINVAL) beyond the end; then nothing is moved.
  absl::Status Read(uint64_t offset, std::span<std::byte> into) const;
  absl::Status Write(uint64_t offset, std::span<const std::byte> from);

  // Makes all of it 0, and gives the memory back to the system.
  void Clear();

 private:
  MappableBar(std::shared_ptr<const UniqueFd> file, std::span<std::byte> memory)
      : file_(std::move(file)), memory_(memory) {}

  absl::Status Check(uint64_t offset, size_t bytes) const;

  std::shared_ptr<const UniqueFd> file_;
  std::span<std::byte> memory_;
};

}  // namespace vfio_user

#endif  // SERVER_MAPPABLE_BAR_H_
