#include "client/dma/dma_responder.h"

#include <cerrno>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/guarded_copy.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

absl::Status DmaResponder::Answer(IncomingCommand& command, Channel& channel) {
  const auto data = Execute(command);
  // Before the server can know that they were refused.
  command.fds.clear();
  if (!data.ok()) return channel.ReplyError(command.header, ToWireErrno(data.status()));
  return channel.ReplySoon(command.header, {.body = echo_, .payload = {&*data, 1}, .fds = {}});
}

absl::StatusOr<std::span<const std::byte>> DmaResponder::Execute(const IncomingCommand& command) {
  if (!command.fds.empty()) {
    return ErrnoStatus(
        EINVAL, fmt::format("{} with descriptors, want none", CommandName(command.header.command)));
  }
  switch (command.header.command) {
    case Command::kDmaRead:
      return Read(command.body);
    case Command::kDmaWrite:
      return Write(command.body);
    default:
      return ErrnoStatus(ENOSYS, fmt::format("command {} of a server",
                                             static_cast<uint16_t>(command.header.command)));
  }
}

absl::StatusOr<std::span<const std::byte>> DmaResponder::Read(std::span<const uint8_t> body) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaAccess access, DmaAccess::Parse(body, "DMA_READ"));
  VFIO_USER_RETURN_IF_ERROR(CheckCount(access));
  VFIO_USER_ASSIGN_OR_RETURN(const DmaTable::Use memory,
                             table_.Find(access.address, access.count, DmaMapFlag::kRead));
  // Copied before anything is sent: memory that turns out to be gone must not spoil a reply whose
  // header has left.
  if (data_.size() < access.count) data_.resize(access.count);
  const std::span<std::byte> data = std::span(data_).first(access.count);
  VFIO_USER_RETURN_IF_ERROR(GuardedRead(memory.data(), data));
  Echo(access);
  return data;
}

absl::StatusOr<std::span<const std::byte>> DmaResponder::Write(std::span<const uint8_t> body) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaAccessWithData write,
                             DmaAccessWithData::Parse(body, "DMA_WRITE"));
  VFIO_USER_RETURN_IF_ERROR(CheckCount(write.access));
  VFIO_USER_ASSIGN_OR_RETURN(
      const DmaTable::Use memory,
      table_.Find(write.access.address, write.access.count, DmaMapFlag::kWrite));
  const absl::Status written = GuardedWrite(std::as_bytes(write.data), memory.data());
  // Whatever came of it: where memory ends on the way, what is before that was written.
  record_.Record(memory.mapping(), {write.access.address, write.access.count});
  VFIO_USER_RETURN_IF_ERROR(written);
  Echo(write.access);
  return std::span<const std::byte>();
}

absl::Status DmaResponder::CheckCount(const DmaAccess& access) const {
  if (access.count <= max_data_xfer_bytes_) return absl::OkStatus();
  return ErrnoStatus(E2BIG, fmt::format("count is {}, want at most {}, the max_data_xfer_size",
                                        access.count, max_data_xfer_bytes_));
}

void DmaResponder::Echo(const DmaAccess& access) {
  echo_.clear();
  WireWriter out(echo_);
  access.AppendTo(out);
}

}  // namespace vfio_user
