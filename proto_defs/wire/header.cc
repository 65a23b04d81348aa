#include "proto_defs/wire/header.h"

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/wire_reader.h"

namespace vfio_user {
namespace {

constexpr uint32_t kTypeMask = 0xf;
constexpr uint32_t kNoReply = 1 << 4;
constexpr uint32_t kError = 1 << 5;

}  // namespace

MessageHeader MessageHeader::Parse(std::span<const uint8_t, kHeaderBytes> bytes) {
  WireReader in(bytes);
  MessageHeader out;
  out.msg_id = in.Read<uint16_t>();
  out.command = Command{in.Read<uint16_t>()};
  out.msg_size = in.Read<uint32_t>();
  const auto flags = in.Read<uint32_t>();
  out.type = static_cast<uint8_t>(flags & kTypeMask);
  out.no_reply = (flags & kNoReply) != 0;
  out.error_flag = (flags & kError) != 0;
  out.error = in.Read<uint32_t>();
  return out;
}

std::array<uint8_t, kHeaderBytes> MessageHeader::Serialize() const {
  const auto wire_command = static_cast<uint16_t>(command);
  const uint32_t flags = (type & kTypeMask) | (no_reply ? kNoReply : 0) | (error_flag ? kError : 0);
  std::array<uint8_t, kHeaderBytes> out;
  std::memcpy(&out[0], &msg_id, sizeof(msg_id));
  std::memcpy(&out[2], &wire_command, sizeof(wire_command));
  std::memcpy(&out[4], &msg_size, sizeof(msg_size));
  std::memcpy(&out[8], &flags, sizeof(flags));
  std::memcpy(&out[12], &error, sizeof(error));
  return out;
}

MessageHeader MessageHeader::Reply(uint32_t wire_errno) const {
  MessageHeader reply;
  reply.msg_id = msg_id;
  reply.command = command;
  reply.type = static_cast<uint8_t>(MessageType::kReply);
  reply.error_flag = wire_errno != 0;
  reply.error = wire_errno;
  return reply;
}

absl::Status PeerError(Command command, uint32_t wire_errno) {
  const bool usable = wire_errno > 0 && wire_errno <= kMaxWireErrno;
  const absl::Status refused =
      ErrnoStatus(usable ? static_cast<int>(wire_errno) : EIO,
                  fmt::format("{} refused by the peer", CommandName(command)));
  switch (refused.code()) {
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDataLoss:
      // Here these are about the connection, which has just proved to be well.
      return WithCode(refused, absl::StatusCode::kAborted);
    default:
      return refused;
  }
}

uint32_t ToWireErrno(const absl::Status& status) {
  const int error = ErrnoOf(status);
  const bool usable = error > 0 && error <= static_cast<int>(kMaxWireErrno);
  return static_cast<uint32_t>(usable ? error : EIO);
}

}  // namespace vfio_user
