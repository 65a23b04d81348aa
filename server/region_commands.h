// REGION_READ and REGION_WRITE.
#ifndef SERVER_REGION_COMMANDS_H_
#define SERVER_REGION_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/client_context.h"

namespace vfio_user {

absl::Status HandleRegionRead(ClientContext& client, IncomingCommand& command);
absl::Status HandleRegionWrite(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_REGION_COMMANDS_H_
