// REGION_READ, REGION_WRITE and REGION_WRITE_MULTI: registers and device memory.
#ifndef PROTO_DEFS_WIRE_REGION_ACCESS_H_
#define PROTO_DEFS_WIRE_REGION_ACCESS_H_

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {

class WireWriter;

// Body of REGION_READ (command 9) and start of its reply; start of REGION_WRITE (command 10) and
// body of its reply. 16 bytes: offset u64 @0 | region u32 @8 | count u32 @12
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_REGION_READ", "VFIO_USER_REGION_WRITE".
struct RegionAccess {
  static constexpr uint32_t kBytes = 16;

  uint64_t offset = 0;  // In bytes, from the start of the region.
  RegionIndex region{};
  uint32_t count = 0;  // In bytes.

  // `message` names the message in errors. InvalidArgument for a body of another length and a range
  // that passes 2^64 - 1. A count of 0 is fine here. Does not look at the region, or at the limit
  // that was negotiated for count.
  static absl::StatusOr<RegionAccess> Parse(std::span<const uint8_t> body,
                                            std::string_view message);
  // The same for a body that may go on after the 16 bytes.
  static absl::StatusOr<RegionAccess> ParsePrefix(std::span<const uint8_t> body,
                                                  std::string_view message);
  void AppendTo(WireWriter& out) const;
  // The same without a vector, which would be most of what building a request costs.
  std::array<uint8_t, kBytes> ToBytes() const;

  friend bool operator==(const RegionAccess&, const RegionAccess&) = default;
};

// A body with data: a REGION_WRITE, or the reply to a REGION_READ.
struct RegionAccessWithData {
  RegionAccess access{};
  std::span<const uint8_t> data{};  // Borrowed from the body; access.count bytes.

  // As RegionAccess::ParsePrefix; InvalidArgument also where the data is not access.count bytes.
  // libvfio-user's reply to a REGION_READ of 0 bytes has no body at all and is refused.
  static absl::StatusOr<RegionAccessWithData> Parse(std::span<const uint8_t> body,
                                                    std::string_view message);
  void AppendTo(WireWriter& out) const;
};

// One write of REGION_WRITE_MULTI. 24 bytes: as RegionAccess, then data @16.
struct WriteMultiEntry {
  static constexpr uint32_t kBytes = RegionAccess::kBytes + kWriteMultiDataBytes;

  RegionAccess access{};
  // The first access.count bytes count; the others travel and mean nothing.
  std::array<uint8_t, kWriteMultiDataBytes> data{};

  friend bool operator==(const WriteMultiEntry&, const WriteMultiEntry&) = default;
};

// Body of REGION_WRITE_MULTI (command 15), client to server: wr_cnt u64 @0, then the entries. Only
// where both sides have the capability write_multiple.
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_REGION_WRITE_MULTI".
struct WriteMultiRequest {
  static constexpr uint32_t kBytes = 8;  // Before the entries.

  std::vector<WriteMultiEntry> entries{};

  // InvalidArgument for a wr_cnt above kMaxWriteMultiEntries or other than the entries in the body,
  // an entry of more than 8 bytes, and a range that passes 2^64 - 1.
  static absl::StatusOr<WriteMultiRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const WriteMultiRequest&, const WriteMultiRequest&) = default;
};

// The reply: wr_cnt u64 @0.
struct WriteMultiReply {
  static constexpr uint32_t kBytes = 8;

  uint64_t done = 0;  // The entries that were carried out, from the first.

  // InvalidArgument for a body of another length.
  static absl::StatusOr<WriteMultiReply> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const WriteMultiReply&, const WriteMultiReply&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_REGION_ACCESS_H_
