// The header of every message.
#ifndef PROTO_DEFS_WIRE_HEADER_H_
#define PROTO_DEFS_WIRE_HEADER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {

enum class MessageType : uint8_t { kCommand = 0, kReply = 1 };

// 16 bytes:
//   msg_id u16 @0 | command u16 @2 | msg_size u32 @4 | flags u32 @8 | error u32 @12
//   flags: bits 0-3 the type, bit 4 No_reply, bit 5 Error; the rest is reserved and ignored
// Source: QEMU docs/interop/vfio-user.rst, "Header".
struct MessageHeader {
  uint16_t msg_id = 0;
  Command command{};
  uint32_t msg_size = kHeaderBytes;  // In bytes, header included.
  // As received, 0 to 15; only 0 and 1 have a meaning. See is_command() and is_reply().
  uint8_t type = static_cast<uint8_t>(MessageType::kCommand);
  bool no_reply = false;
  bool error_flag = false;
  uint32_t error = 0;  // An errno in an error reply; 0 is legal there too.

  // Any 16 bytes are a header: sizes, types and commands are judged by who received it.
  static MessageHeader Parse(std::span<const uint8_t, kHeaderBytes> bytes);
  std::array<uint8_t, kHeaderBytes> Serialize() const;

  bool is_command() const { return type == static_cast<uint8_t>(MessageType::kCommand); }
  bool is_reply() const { return type == static_cast<uint8_t>(MessageType::kReply); }

  // The header of the reply to this command; a reply with an error when `wire_errno` is not 0.
  MessageHeader Reply(uint32_t wire_errno = 0) const;

  friend bool operator==(const MessageHeader&, const MessageHeader&) = default;
};

// The Status of an error reply to `command`: "DMA_MAP refused by the peer: File exists", with the
// peer's errno kept (EIO where it sent none that this system knows).
absl::Status PeerError(Command command, uint32_t wire_errno);

// The errno to put into an error reply for `status`, which must not be OK: 1 to kMaxWireErrno.
uint32_t ToWireErrno(const absl::Status& status);

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_HEADER_H_
