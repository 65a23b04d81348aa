#include "proto_defs/transport/message_stream.h"

#include <algorithm>
#include <array>
#include <limits>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {
namespace {

iovec PartOf(std::span<const uint8_t> bytes) {
  return {.iov_base = const_cast<uint8_t*>(bytes.data()), .iov_len = bytes.size()};
}

iovec PartOf(std::span<const std::byte> bytes) {
  return {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
}

// A connection that closes within a message broke the protocol; between messages it just ended.
absl::Status HalfMessage(const absl::Status& status) {
  if (absl::IsUnavailable(status)) {
    return absl::DataLossError("the peer closed the connection in the middle of a message");
  }
  if (absl::IsDeadlineExceeded(status)) {
    return absl::DataLossError("the peer stopped in the middle of a message");
  }
  return status;
}

absl::StatusOr<MessageHeader> HeaderFor(const OutgoingMessage& message) {
  size_t bytes = kHeaderBytes + message.body.size();
  for (const std::span<const std::byte> piece : message.payload) bytes += piece.size();
  if (bytes > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError(fmt::format("message of {} bytes, a header holds {}", bytes,
                                                  std::numeric_limits<uint32_t>::max()));
  }
  MessageHeader header = message.header;
  header.msg_size = static_cast<uint32_t>(bytes);
  return header;
}

}  // namespace

absl::Status MessageStream::Send(std::span<const OutgoingMessage> messages, Deadline begin_by) {
  absl::InlinedVector<std::array<uint8_t, kHeaderBytes>, 1> headers;
  headers.reserve(messages.size());  // The parts point into it.
  absl::InlinedVector<iovec, 8> parts;
  for (const OutgoingMessage& message : messages) {
    VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader header, HeaderFor(message));
    parts.push_back(PartOf(headers.emplace_back(header.Serialize())));
    if (!message.body.empty()) parts.push_back(PartOf(message.body));
    for (const std::span<const std::byte> piece : message.payload) {
      if (!piece.empty()) parts.push_back(PartOf(piece));
    }
  }
  return socket_.Send(std::span(parts.data(), parts.size()), messages.front().fds, begin_by,
                      options_.stall_timeout);
}

absl::Status MessageStream::FillAhead(Deadline deadline, Deadline spin_until) {
  const size_t most = options_.read_ahead ? ReadAhead::kCapacity : kHeaderBytes;
  VFIO_USER_ASSIGN_OR_RETURN(Socket::Received received,
                             socket_.Receive(ahead_.Room().first(most), deadline, spin_until));
  if (received.bytes == 0) return ErrnoStatus(ECONNRESET, "the peer closed the connection");
  ahead_.Fill(received.bytes, std::move(received.fds));
  return absl::OkStatus();
}

absl::StatusOr<MessageStream::Incoming> MessageStream::ReceiveHeader(Deadline deadline,
                                                                     Deadline spin_until) {
  if (ahead_.empty()) VFIO_USER_RETURN_IF_ERROR(FillAhead(deadline, spin_until));
  complete_by_.reset();
  std::vector<UniqueFd> fds = ahead_.TakeFds();
  std::array<uint8_t, kHeaderBytes> bytes;
  VFIO_USER_RETURN_IF_ERROR(ReceiveRestOfHeader(std::span(bytes).subspan(ahead_.Take(bytes))));

  const MessageHeader header = MessageHeader::Parse(bytes);
  // Checked before anybody allocates for it: unchecked, msg_size is worth 4 GiB of this process.
  if (header.msg_size < kHeaderBytes || header.msg_size > options_.max_message_bytes) {
    refused_header_ = header;
    return absl::DataLossError(fmt::format("{}: msg_size is {}, want {} to {}",
                                           CommandName(header.command), header.msg_size,
                                           kHeaderBytes, options_.max_message_bytes));
  }
  return Incoming{header, header.msg_size - kHeaderBytes, std::move(fds)};
}

absl::Status MessageStream::ReceiveRestOfHeader(std::span<uint8_t> rest) {
  if (rest.empty()) return absl::OkStatus();
  iovec part = PartOf(rest);
  return HalfMessage(socket_.ReceiveAll({&part, 1}, CompleteBy()));
}

Deadline MessageStream::CompleteBy() {
  if (!complete_by_) complete_by_ = Deadline::In(options_.stall_timeout);
  return *complete_by_;
}

absl::Status MessageStream::ReceiveBody(std::span<iovec> parts) {
  size_t left = 0;
  for (iovec& part : parts) {
    const size_t taken = ahead_.Take({static_cast<uint8_t*>(part.iov_base), part.iov_len});
    part.iov_base = static_cast<uint8_t*>(part.iov_base) + taken;
    part.iov_len -= taken;
    left += part.iov_len;
  }
  if (left == 0) return absl::OkStatus();
  return HalfMessage(socket_.ReceiveAll(parts, CompleteBy()));
}

absl::Status MessageStream::ReceiveBody(std::span<uint8_t> body) {
  iovec part = PartOf(body);
  return ReceiveBody({&part, 1});
}

absl::Status MessageStream::DiscardBody(size_t bytes) {
  std::array<uint8_t, 4096> sink;
  while (bytes > 0) {
    const size_t chunk = std::min(bytes, sink.size());
    VFIO_USER_RETURN_IF_ERROR(ReceiveBody(std::span(sink).first(chunk)));
    bytes -= chunk;
  }
  return absl::OkStatus();
}

}  // namespace vfio_user
