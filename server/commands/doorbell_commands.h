// DEVICE_GET_REGION_IO_FDS.
#ifndef SERVER_COMMANDS_DOORBELL_COMMANDS_H_
#define SERVER_COMMANDS_DOORBELL_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/commands/client_context.h"

namespace vfio_user {

absl::Status HandleDeviceGetRegionIoFds(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_DOORBELL_COMMANDS_H_
