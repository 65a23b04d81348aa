// DEVICE_GET_REGION_IO_FDS: descriptors that a client may use instead of messages for some offsets
// of a region, doorbells above all.
#ifndef PROTO_DEFS_WIRE_REGION_IO_FDS_H_
#define PROTO_DEFS_WIRE_REGION_IO_FDS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/device_info.h"

namespace vfio_user {

class WireWriter;

// Values outside the list occur.
enum class IoFdType : uint32_t {
  kIoEventFd = 0,
  kIoRegionFd = 1,       // No kernel has it.
  kShadowIoEventFd = 2,  // libvfio-user only.
};

// An fd_index that names no descriptor.
inline constexpr uint32_t kNoFdIndex = UINT32_MAX;

// Where the client is to store the value before it rings the doorbell. libvfio-user only.
struct ShadowMemory {
  uint32_t fd_index = kNoFdIndex;
  uint64_t offset = 0;  // In bytes, into the descriptor's file.

  friend bool operator==(const ShadowMemory&, const ShadowMemory&) = default;
};

// One sub-region. 40 bytes:
//   offset u64 @0 | size u64 @8 | fd_index u32 @16 | type u32 @20 | flags u32 @24 | padding @28 |
//   value u64 @32
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DEVICE_GET_REGION_IO_FDS". libvfio-user's has
// 48: the shadow memory's fd_index u32 is @28, its offset u64 @32, and the value @40.
struct IoFdEntry {
  static constexpr uint32_t kBytes = 40;
  static constexpr uint32_t kLongBytes = 48;

  uint64_t offset = 0;             // In bytes, from the start of the region.
  uint64_t size = 0;               // In bytes.
  uint32_t fd_index = kNoFdIndex;  // Into the descriptors of the reply.
  IoFdType type{};
  uint32_t flags = 0;  // KVM_IOEVENTFD_FLAG_* or KVM_IOREGION_*, as KVM takes them.
  uint64_t value = 0;  // What has to be written to ring (datamatch), or ioregionfd's user_data.
  // Of a 48-byte entry. It is not written: this tree's server has none.
  std::optional<ShadowMemory> shadow{};

  friend bool operator==(const IoFdEntry&, const IoFdEntry&) = default;
};

// Body of DEVICE_GET_REGION_IO_FDS (command 6), client to server. 16 bytes:
//   argsz u32 @0 | flags u32 @4, 0 | index u32 @8 | count u32 @12, 0
struct RegionIoFdsRequest {
  static constexpr uint32_t kBytes = 16;

  uint32_t argsz = kBytes;  // Of the longest reply body that the client takes.
  RegionIndex index{};

  // InvalidArgument for a body of another length, an argsz below 16, flags or a count.
  static absl::StatusOr<RegionIoFdsRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const RegionIoFdsRequest&, const RegionIoFdsRequest&) = default;
};

// The reply: the same 16 bytes, where argsz and count say what exists, then the entries if the
// request's argsz holds all of them. Then the descriptors come too, each once.
struct RegionIoFdsReply {
  static constexpr uint32_t kBytes = 16;

  // As received: the body that would hold everything. AppendTo writes FullSize() instead.
  uint32_t argsz = kBytes;
  RegionIndex index{};
  // As received: the number of entries there are, also where the body has none of them. AppendTo
  // writes entries.size() instead.
  uint32_t count = 0;
  std::vector<IoFdEntry> entries{};  // Empty or `count` of them.

  // InvalidArgument for a body that is not the 16 bytes and nothing or `count` entries, entries
  // that are neither 40 nor 48 bytes, and a sub-region that passes 2^64 - 1. The length of an entry
  // is (argsz - 16) / count; the specification's formula has 32 there, which its own table and all
  // implementations contradict. Does not hold fd_index against the descriptors that came.
  static absl::StatusOr<RegionIoFdsReply> Parse(std::span<const uint8_t> body);

  // Bytes of the body with all entries. There must be fewer than 2^26 of them.
  uint32_t FullSize() const;

  // Writes FullSize() bytes or, where that is above `max_bytes`, the request's argsz, only the
  // first 16; then no descriptors may go with it.
  void AppendTo(WireWriter& out, uint32_t max_bytes = UINT32_MAX) const;

  friend bool operator==(const RegionIoFdsReply&, const RegionIoFdsReply&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_REGION_IO_FDS_H_
