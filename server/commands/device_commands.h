// DEVICE_GET_INFO, DEVICE_GET_REGION_INFO and DEVICE_RESET.
#ifndef SERVER_COMMANDS_DEVICE_COMMANDS_H_
#define SERVER_COMMANDS_DEVICE_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/commands/client_context.h"

namespace vfio_user {

absl::Status HandleDeviceGetInfo(ClientContext& client, IncomingCommand& command);
absl::Status HandleDeviceGetRegionInfo(ClientContext& client, IncomingCommand& command);

// Answered by the worker, once it is done.
absl::Status HandleDeviceReset(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_DEVICE_COMMANDS_H_
