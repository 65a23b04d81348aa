// DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS.
#ifndef SERVER_COMMANDS_IRQ_COMMANDS_H_
#define SERVER_COMMANDS_IRQ_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/commands/client_context.h"

namespace vfio_user {

absl::Status HandleDeviceGetIrqInfo(ClientContext& client, IncomingCommand& command);

// Interrupts are signalled by the worker, because a signal may block where the client wants it to
// (see EventFd), and the protocol thread is the one that sees the client leave.
absl::Status HandleDeviceSetIrqs(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_IRQ_COMMANDS_H_
