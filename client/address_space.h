// All of a process's memory lent at once, for simulators that cannot name their buffers.
#ifndef CLIENT_ADDRESS_SPACE_H_
#define CLIENT_ADDRESS_SPACE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/dma_mapping.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

class DmaMapper;

enum class AddressSpaceAccess {
  kReadWrite,
  kReadOnly,  // The server's descriptor is O_RDONLY then.
};

// The user half of the address space, but for its first page, is mapped for as long as this lives,
// by file I/O, each byte at its own address: any pointer can be given to the device. An access to
// what is not there at that moment is an error to the device. Movable. Thread-compatible.
//
// SECURITY: whatever the device is told to reach, it reaches: stacks, code, other libraries' data;
// with kReadWrite also pages that are mapped PROT_READ. Nothing but the server stands between a
// stray address and this process's memory.
class AddressSpaceMapping {
 public:
  AddressSpaceMapping(AddressSpaceMapping&&) noexcept = default;
  AddressSpaceMapping& operator=(AddressSpaceMapping&&) noexcept = default;
  // Unmaps all of it: see DmaMapping.
  ~AddressSpaceMapping() = default;

  const IovaRange& range() const { return range_; }
  // As many as the server's limit on the size of one asks for.
  size_t region_count() const { return regions_.size(); }

  // Takes all of it away from the device. The second call does nothing. An error means that the
  // connection is gone, and with it the mappings.
  absl::Status Unmap();

 private:
  friend class Client;
  explicit AddressSpaceMapping(const IovaRange& range) : range_(range) {}

  static absl::StatusOr<AddressSpaceMapping> Create(DmaMapper& mapper, DmaMapFlags access);
  // Maps the whole range in regions of at most `region_bytes`, a power of two.
  absl::Status MapIn(DmaMapper& mapper, DmaMapFlags access, uint64_t region_bytes);

  IovaRange range_;
  std::vector<DmaMapping> regions_;
};

}  // namespace vfio_user

#endif  // CLIENT_ADDRESS_SPACE_H_
