// DEVICE_GET_REGION_INFO: one region's size and rights, and which parts of it can be mapped.
#ifndef PROTO_DEFS_WIRE_REGION_INFO_H_
#define PROTO_DEFS_WIRE_REGION_INFO_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/flag_set.h"

namespace vfio_user {

class WireWriter;

enum class RegionFlag : uint32_t {
  kRead = 1,
  kWrite = 2,
  kMmap = 4,  // A descriptor comes with the reply, or would if argsz were larger.
  kCaps = 8,  // Capabilities follow the 32 bytes.
};
using RegionFlags = FlagSet<RegionFlag>;

inline constexpr RegionFlags kKnownRegionFlags =
    RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite | RegionFlag::kMmap | RegionFlag::kCaps;

// A part of a region that can be mapped, at RegionInfo::file_offset + offset of the descriptor.
struct SparseArea {
  uint64_t offset = 0;  // In bytes, from the start of the region.
  uint64_t size = 0;    // In bytes.

  friend bool operator==(const SparseArea&, const SparseArea&) = default;
};

// What a region that is not a PCI one is for.
struct RegionType {
  uint32_t type = 0;
  uint32_t subtype = 0;

  friend bool operator==(const RegionType&, const RegionType&) = default;
};

// Body of DEVICE_GET_REGION_INFO (command 5), client to server. 32 bytes, of which
//   argsz u32 @0 | index u32 @8
// are used. Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DEVICE_GET_REGION_INFO".
struct RegionInfoRequest {
  static constexpr uint32_t kBytes = 32;

  uint32_t argsz = kBytes;  // Of the longest reply body that the client takes.
  RegionIndex index{};

  // InvalidArgument for a body or an argsz below 32. A longer body is fine: SPDK's has 4,064 bytes.
  static absl::StatusOr<RegionInfoRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const RegionInfoRequest&, const RegionInfoRequest&) = default;
};

// The reply, with at most one descriptor. 32 bytes, then capabilities:
//   argsz u32 @0 | flags u32 @4 | index u32 @8 | cap_offset u32 @12 | size u64 @16 |
//   file offset u64 @24
// A capability starts with id u16, version u16, next u32: where the next one starts, counted from
// the 32 bytes' start, 0 in the last one. Id 1 is the sparse areas (number u32 @8, reserved @12,
// then offset u64, size u64 each), id 2 the type (type u32 @8, subtype u32 @12).
struct RegionInfo {
  static constexpr uint32_t kBytes = 32;

  // As received: the body that would hold everything. Where it is above the length of the body and
  // kCaps is absent, the client asks again with this number. AppendTo writes FullSize() instead.
  uint32_t argsz = kBytes;
  // As received. AppendTo writes kCaps where capabilities follow, whatever stands here.
  RegionFlags flags{};
  RegionIndex index{};
  uint64_t size = 0;         // In bytes; 0 for a region that the device does not have.
  uint64_t file_offset = 0;  // In bytes: where the region starts in the descriptor's file.
  // nullopt without that capability; then kMmap speaks of the whole region.
  std::optional<std::vector<SparseArea>> sparse_areas{};
  std::optional<RegionType> type{};

  // InvalidArgument for a body below 32 bytes, a chain of capabilities that starts inside the 32
  // bytes, leaves the body or does not end, a known capability of another version than 1 or there
  // twice, an area outside the region, and a mappable region whose file range passes 2^64 - 1.
  // Capabilities and flags that are not known are dropped. kCaps with a cap_offset of 0 is taken
  // for no capabilities, as the kernel's own interface has it for a small argsz.
  static absl::StatusOr<RegionInfo> Parse(std::span<const uint8_t> body);

  // Bytes of the body with all capabilities. There must be fewer than 2^27 areas.
  uint32_t FullSize() const;

  // Writes FullSize() bytes or, where that is above `max_bytes`, the request's argsz, only the
  // first 32, without a trace of the capabilities but argsz. The descriptor is to be left out too.
  void AppendTo(WireWriter& out, uint32_t max_bytes = UINT32_MAX) const;

  friend bool operator==(const RegionInfo&, const RegionInfo&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_REGION_INFO_H_
