// VERSION: the first message of a connection, and what each side says of itself in it.
#ifndef PROTO_DEFS_WIRE_VERSION_H_
#define PROTO_DEFS_WIRE_VERSION_H_

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"

namespace vfio_user {

class WireWriter;

// The only major version there is. Minors are 0 to 2, without a defined difference.
inline constexpr uint16_t kProtocolMajor = 0;
inline constexpr uint16_t kProtocolMinor = 2;

// A second socket, for the commands of the server. Offered by the client with `supported`; the
// server that takes it answers with `supported` and the index of the socket's descriptor.
struct TwinSocket {
  bool supported = false;
  std::optional<uint64_t> fd_index{};  // In a reply; into the descriptors of the message.

  friend bool operator==(const TwinSocket&, const TwinSocket&) = default;
};

// No longer in the specification, and still sent. It does not prove that DEVICE_FEATURE works.
struct MigrationCapability {
  std::optional<uint64_t> pgsize{};           // In bytes.
  std::optional<uint64_t> max_bitmap_size{};  // In bytes.

  friend bool operator==(const MigrationCapability&, const MigrationCapability&) = default;
};

// What one side can do, as it said; each side is bound by the other's limits. A key that was absent
// is nullopt, and the functions know what holds then.
struct Capabilities {
  std::optional<uint64_t> max_msg_fds{};         // Descriptors that it takes with one message.
  std::optional<uint64_t> max_data_xfer_size{};  // In bytes; of data that it takes in one message.
  std::optional<uint64_t> max_dma_maps{};        // That may exist at a time.
  std::optional<uint64_t> pgsizes{};             // In bytes; each bit is a page size.
  std::optional<bool> write_multiple{};          // REGION_WRITE_MULTI may be used.
  std::optional<TwinSocket> twin_socket{};
  std::optional<MigrationCapability> migration{};

  uint64_t MaxMsgFds() const;
  // In bytes; never 0 and never above kMaxAdvertisedDataXferBytes, whatever the peer said.
  uint64_t MaxDataXferBytes() const;
  uint64_t MaxDmaMaps() const;
  uint64_t PageSizes() const;
  bool WriteMultiple() const;
  bool TwinSocketSupported() const;

  friend bool operator==(const Capabilities&, const Capabilities&) = default;
};

// Body of VERSION (command 1), client to server, and of its reply, which may carry the twin
// socket's descriptor. 4 bytes, then optionally JSON that ends in a NUL:
//   major u16 @0 | minor u16 @2 | {"capabilities":{...}} @4
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_VERSION".
struct VersionMessage {
  static constexpr uint32_t kBytes = 4;  // Before the JSON.

  uint16_t major = kProtocolMajor;
  uint16_t minor = kProtocolMinor;
  Capabilities capabilities{};

  // InvalidArgument for less than 4 bytes, more than kMaxVersionDataBytes of JSON, JSON that does
  // not end in its only NUL, does not parse or is no object, and capabilities of the wrong type,
  // negative, or out of bounds: a max_data_xfer_size of 0 (a peer that kept to it would never get
  // anything across), a max_msg_fds above kMaxAdvertisedMsgFds. Keys that are unknown are dropped.
  // Does not judge the version.
  static absl::StatusOr<VersionMessage> Parse(std::span<const uint8_t> body);

  // Always writes JSON, because a rust-vmm server needs some, and without blanks: QEMU takes no
  // reply of more than 214 bytes, header included. A server stays below that with all it can say
  // but max_bitmap_size, which is a client's, and twin_socket, which QEMU does not ask for.
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const VersionMessage&, const VersionMessage&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_VERSION_H_
