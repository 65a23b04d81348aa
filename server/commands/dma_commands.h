// DMA_MAP and DMA_UNMAP.
#ifndef SERVER_COMMANDS_DMA_COMMANDS_H_
#define SERVER_COMMANDS_DMA_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/commands/client_context.h"

namespace vfio_user {

absl::Status HandleDmaMap(ClientContext& client, IncomingCommand& command);

// Answered when the last transfer that uses the memory is through, by the thread that did it.
absl::Status HandleDmaUnmap(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_DMA_COMMANDS_H_
