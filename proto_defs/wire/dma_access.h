// DMA_READ and DMA_WRITE: the server reaches memory of the client by message.
#ifndef PROTO_DEFS_WIRE_DMA_ACCESS_H_
#define PROTO_DEFS_WIRE_DMA_ACCESS_H_

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

class WireWriter;

// Body of DMA_READ (command 11) and start of its reply; start of DMA_WRITE (command 12) and body of
// its reply. Server to client. 16 bytes: address u64 @0 | count u64 @8
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DMA_READ", "VFIO_USER_DMA_WRITE".
struct DmaAccess {
  static constexpr uint32_t kBytes = 16;

  Iova address{};
  uint64_t count = 0;  // In bytes.

  // `message` names the message in errors. InvalidArgument for a body of another length and a range
  // that passes 2^64 - 1. A count of 0 is fine here. Does not look at what is mapped, or at the
  // limit that was negotiated for count.
  static absl::StatusOr<DmaAccess> Parse(std::span<const uint8_t> body, std::string_view message);
  // The same for a body that may go on after the 16 bytes.
  static absl::StatusOr<DmaAccess> ParsePrefix(std::span<const uint8_t> body,
                                               std::string_view message);
  // The reply to a DMA_WRITE: 16 bytes, or 12 with a count of 4 bytes, as the specification's table
  // of that one reply has it, against its own table of the request.
  static absl::StatusOr<DmaAccess> ParseWriteReply(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;
  std::array<uint8_t, kBytes> ToBytes() const;

  friend bool operator==(const DmaAccess&, const DmaAccess&) = default;
};

// A body with data: a DMA_WRITE, or the reply to a DMA_READ.
struct DmaAccessWithData {
  DmaAccess access{};
  std::span<const uint8_t> data{};  // Borrowed from the body; access.count bytes.

  // As DmaAccess::ParsePrefix; InvalidArgument also where the data is not access.count bytes.
  static absl::StatusOr<DmaAccessWithData> Parse(std::span<const uint8_t> body,
                                                 std::string_view message);
  void AppendTo(WireWriter& out) const;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_DMA_ACCESS_H_
