// REGION_READ, REGION_WRITE and REGION_WRITE_MULTI.
#ifndef SERVER_COMMANDS_REGION_COMMANDS_H_
#define SERVER_COMMANDS_REGION_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/commands/client_context.h"

namespace vfio_user {

absl::Status HandleRegionRead(ClientContext& client, IncomingCommand& command);
absl::Status HandleRegionWrite(ClientContext& client, IncomingCommand& command);

// Writes in order, up to the first one that is refused, and answers how many it wrote. What was
// refused, and why, is logged: the client learns only where.
absl::Status HandleRegionWriteMulti(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_REGION_COMMANDS_H_
