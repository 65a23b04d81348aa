// MIG_DATA_READ and MIG_DATA_WRITE: the state of a device, out of it and into it.
#ifndef PROTO_DEFS_WIRE_MIGRATION_DATA_H_
#define PROTO_DEFS_WIRE_MIGRATION_DATA_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

namespace vfio_user {

class WireWriter;

// Body of MIG_DATA_READ (command 17), client to server. 8 bytes: argsz u32 @0 | size u32 @4
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_MIG_DATA_READ".
struct MigDataReadRequest {
  static constexpr uint32_t kBytes = 8;

  uint32_t argsz = kBytes;  // Of the longest reply body: 8 + size at least.
  uint32_t size = 0;        // In bytes; the most that the reply may carry.

  // InvalidArgument for a body of another length and an argsz below 8 + size.
  static absl::StatusOr<MigDataReadRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const MigDataReadRequest&, const MigDataReadRequest&) = default;
};

// The reply: argsz u32 @0 | size u32 @4 | data @8. Fewer bytes than asked for are the last ones by
// the specification; libvfio-user's header takes only 0 bytes for the end. Read until 0.
struct MigDataReadReply {
  static constexpr uint32_t kBytes = 8;  // Before the data.

  std::span<const uint8_t> data{};  // Borrowed from the body.

  // InvalidArgument for a body that does not hold its size. What follows is dropped: libvfio-user's
  // body is as long as the request asked for, however little of it is data.
  static absl::StatusOr<MigDataReadReply> Parse(std::span<const uint8_t> body);
  // The data must be less than 4 GiB.
  void AppendTo(WireWriter& out) const;
};

// Body of MIG_DATA_WRITE (command 18), client to server: argsz u32 @0 | size u32 @4 | data @8.
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_MIG_DATA_WRITE". The reply has no body.
struct MigDataWriteRequest {
  static constexpr uint32_t kBytes = 8;  // Before the data.

  std::span<const uint8_t> data{};  // Borrowed from the body.

  // InvalidArgument for a body of another length than 8 + size and an argsz below that.
  static absl::StatusOr<MigDataWriteRequest> Parse(std::span<const uint8_t> body);
  // The data must be less than 4 GiB.
  void AppendTo(WireWriter& out) const;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_MIGRATION_DATA_H_
