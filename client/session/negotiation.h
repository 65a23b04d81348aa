// VERSION: what must have been said before anything else is.
#ifndef CLIENT_SESSION_NEGOTIATION_H_
#define CLIENT_SESSION_NEGOTIATION_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/version.h"

namespace vfio_user {

// A connection whose two ends know each other.
struct Negotiated {
  MessageStream stream;
  // For the server's commands, where it granted one.
  std::optional<Socket> twin;
  VersionMessage server;  // What the server said of itself, checked.
  // What was offered: the data of one message that the server may send, in bytes.
  uint32_t max_data_xfer_bytes = 0;
};

// The longest message that is accepted from a server that was offered this much data in one. It
// leaves room for a server that keeps to the protocol's default instead, whose excess can then be
// refused without losing the connection.
uint32_t MaxIncomingMessageBytes(uint32_t max_data_xfer_bytes);

// Offers version 0.2 (the minors have no defined difference; the twin socket appeared with this one
// in libvfio-user) and `max_data_xfer_bytes`, and judges the reply. Takes `socket`, and closes it
// on an error.
//
// The server's refusal is returned with its errno; Unavailable also when it closes the connection
// instead, Unimplemented for another major version, DeadlineExceeded when it is silent, and
// DataLoss when it says what no vfio-user server says.
absl::StatusOr<Negotiated> Negotiate(Socket socket, uint32_t max_data_xfer_bytes,
                                     Deadline deadline);

}  // namespace vfio_user

#endif  // CLIENT_SESSION_NEGOTIATION_H_
