// MIG_DATA_READ and MIG_DATA_WRITE.
#ifndef SERVER_COMMANDS_MIGRATION_COMMANDS_H_
#define SERVER_COMMANDS_MIGRATION_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/commands/client_context.h"

namespace vfio_user {

// See CommandHandler. InvalidArgument (EINVAL) for a device that cannot move and for more data than
// was negotiated for a message, and see Migration.
absl::Status HandleMigDataRead(ClientContext& client, IncomingCommand& command);
absl::Status HandleMigDataWrite(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_MIGRATION_COMMANDS_H_
