#include "server/commands/negotiation.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/version.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

// Descriptors that the client may attach to one message: as many as it takes to bind that many
// interrupts at once. QEMU gives up on a server that offers more.
constexpr uint64_t kOfferedMsgFds = 16;

// Answers with EINVAL, and returns `reason`.
absl::Status Refuse(MessageStream& stream, const MessageHeader& header, absl::Status reason) {
  if (!header.no_reply) {
    (void)stream.Send({.header = header.Reply(EINVAL), .body = {}, .payload = {}, .fds = {}});
  }
  return reason;
}

absl::Status CheckHeader(const MessageStream::Incoming& incoming) {
  const MessageHeader& header = incoming.header;
  if (!header.is_command() || header.command != Command::kVersion) {
    return absl::InvalidArgumentError(
        fmt::format("the first message is {} of type {}, want the command VERSION",
                    CommandName(header.command), header.type));
  }
  if (header.no_reply) return absl::InvalidArgumentError("VERSION asks for no reply");
  if (!incoming.fds.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("VERSION: {} descriptors, want none", incoming.fds.size()));
  }
  return absl::OkStatus();
}

absl::StatusOr<VersionMessage> ParseVersion(std::span<const uint8_t> body) {
  VFIO_USER_ASSIGN_OR_RETURN(const VersionMessage version, VersionMessage::Parse(body));
  if (version.major != kProtocolMajor) {
    return absl::InvalidArgumentError(
        fmt::format("VERSION: major is {}, want {}", version.major, kProtocolMajor));
  }
  return version;
}

struct ReceivedVersion {
  MessageHeader header;
  VersionMessage version;
};

absl::StatusOr<ReceivedVersion> ReceiveVersion(MessageStream& stream, Deadline deadline) {
  stream.set_max_message_bytes(kHeaderBytes + VersionMessage::kBytes + kMaxVersionDataBytes);
  VFIO_USER_RETURN_IF_ERROR(stream.socket().WaitReadable(deadline));
  // A message may take that long from its first byte on, which is now there.
  stream.set_stall_timeout(deadline.TimeLeft());
  auto incoming = stream.ReceiveHeader(deadline);
  if (stream.refused_header().has_value()) {
    return Refuse(stream, *stream.refused_header(), incoming.status());
  }
  VFIO_USER_RETURN_IF_ERROR(incoming.status());
  const absl::Status acceptable = CheckHeader(*incoming);
  if (!acceptable.ok()) return Refuse(stream, incoming->header, acceptable);
  std::vector<uint8_t> body(incoming->body_bytes);
  VFIO_USER_RETURN_IF_ERROR(stream.ReceiveBody(body));
  const absl::StatusOr<VersionMessage> version = ParseVersion(body);
  if (!version.ok()) return Refuse(stream, incoming->header, version.status());
  return ReceivedVersion{incoming->header, *version};
}

// QEMU receives the answer where its own VERSION was, and takes none that is longer. So the use of
// REGION_WRITE_MULTI is not offered where that makes it longer; where it is so anyway, the client
// is one that has room.
void KeepWithin(uint32_t most_bytes, VersionMessage& reply) {
  if (Serialize(reply).size() <= most_bytes) return;
  VersionMessage shorter = reply;
  shorter.capabilities.write_multiple.reset();
  if (Serialize(shorter).size() <= most_bytes) reply = shorter;
}

// Both ends of the second socket; nothing where the client did not ask, or where there is none to
// be had, which is no reason not to serve it.
std::optional<std::pair<Socket, Socket>> MakeTwin(const Capabilities& client) {
  if (!client.TwinSocketSupported() || client.MaxMsgFds() == 0) return std::nullopt;
  auto pair = Socket::Pair();
  if (!pair.ok()) return std::nullopt;
  return *std::move(pair);
}

}  // namespace

absl::StatusOr<AcceptedClient> NegotiateVersion(MessageStream& stream,
                                                const NegotiationTerms& terms) {
  const Deadline deadline = Deadline::In(terms.timeout);
  VFIO_USER_ASSIGN_OR_RETURN(const ReceivedVersion received, ReceiveVersion(stream, deadline));
  const Capabilities& client = received.version.capabilities;
  AcceptedClient negotiated;
  negotiated.max_data_xfer_bytes = static_cast<uint32_t>(
      std::min<uint64_t>(client.MaxDataXferBytes(), terms.max_data_xfer_bytes));
  negotiated.max_msg_fds = client.MaxMsgFds();

  VersionMessage reply;
  reply.minor = std::min(received.version.minor, kProtocolMinor);
  // Nothing that says what its absence says too: QEMU takes a reply of 214 bytes at most.
  reply.capabilities.max_msg_fds = kOfferedMsgFds;
  reply.capabilities.max_data_xfer_size = negotiated.max_data_xfer_bytes;
  reply.capabilities.max_dma_maps = std::min<uint64_t>(client.MaxDmaMaps(), terms.max_dma_maps);
  if (client.WriteMultiple()) reply.capabilities.write_multiple = true;
  std::vector<FdView> fds;
  std::optional<std::pair<Socket, Socket>> twin = MakeTwin(client);
  if (twin.has_value()) {
    reply.capabilities.twin_socket = TwinSocket{.supported = true, .fd_index = 0};
    fds.push_back(twin->second.fd());
  }
  KeepWithin(received.header.msg_size - kHeaderBytes, reply);
  negotiated.write_multiple = reply.capabilities.WriteMultiple();
  stream.set_stall_timeout(deadline.TimeLeft());
  VFIO_USER_RETURN_IF_ERROR(stream.Send(
      {.header = received.header.Reply(), .body = Serialize(reply), .payload = {}, .fds = fds}));
  if (twin.has_value()) negotiated.twin = std::move(twin->first);
  return negotiated;
}

}  // namespace vfio_user
