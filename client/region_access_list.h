// Accesses to a region that are made together.
#ifndef CLIENT_REGION_ACCESS_LIST_H_
#define CLIENT_REGION_ACCESS_LIST_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace vfio_user {

// Of a register: `{0x10, std::as_writable_bytes(std::span(&value, 1))}`.
struct RegionRead {
  uint64_t offset = 0;             // In bytes, from the start of the region.
  std::span<std::byte> into = {};  // Borrowed.
};

// Of a register: `{0x10, std::as_bytes(std::span(&value, 1))}`.
struct RegionWrite {
  uint64_t offset = 0;                   // In bytes, from the start of the region.
  std::span<const std::byte> from = {};  // Borrowed.
};

}  // namespace vfio_user

#endif  // CLIENT_REGION_ACCESS_LIST_H_
