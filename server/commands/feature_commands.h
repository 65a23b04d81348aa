// DEVICE_FEATURE.
#ifndef SERVER_COMMANDS_FEATURE_COMMANDS_H_
#define SERVER_COMMANDS_FEATURE_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/commands/client_context.h"

namespace vfio_user {

// See CommandHandler. InvalidArgument (EINVAL) for a feature that the device lacks, an operation
// that the feature lacks, an argsz that does not hold the reply, and what the feature refuses.
absl::Status HandleDeviceFeature(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_FEATURE_COMMANDS_H_
