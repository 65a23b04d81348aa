// VERSION, from the server's side: what comes before everything else on a connection.
#ifndef SERVER_COMMANDS_NEGOTIATION_H_
#define SERVER_COMMANDS_NEGOTIATION_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"

namespace vfio_user {

// What the server offers.
struct NegotiationTerms {
  absl::Duration timeout = absl::Seconds(5);  // For all of it.
  uint32_t max_data_xfer_bytes = 1 << 20;
  uint32_t max_dma_maps = 65535;
};

// What both sides keep to.
struct AcceptedClient {
  uint32_t max_data_xfer_bytes = 0;
  uint64_t max_msg_fds = 0;     // That the client takes with one message.
  bool write_multiple = false;  // REGION_WRITE_MULTI may be used.
  // The server's end of the socket for its commands, where the client asked for one.
  std::optional<Socket> twin;
};

// Receives a client's VERSION and answers it. A client that sends anything else, or a VERSION that
// cannot be accepted, is told so with EINVAL before the error is returned; the connection is then
// to be closed. DeadlineExceeded, or DataLoss in the middle of a message, when it takes too long.
//
// The minor version of the answer is the lower one of both: minors have no defined difference, and
// a client may refuse one above its own.
//
// Leaves `stream` with limits made for VERSION: the caller sets its own.
absl::StatusOr<AcceptedClient> NegotiateVersion(MessageStream& stream,
                                                const NegotiationTerms& terms);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_NEGOTIATION_H_
