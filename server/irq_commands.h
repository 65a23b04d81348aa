// DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS.
#ifndef SERVER_IRQ_COMMANDS_H_
#define SERVER_IRQ_COMMANDS_H_

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "server/client_context.h"

namespace vfio_user {

absl::Status HandleDeviceGetIrqInfo(ClientContext& client, IncomingCommand& command);

// Interrupts that it sets off are signalled, and it is answered after that, by the worker.
absl::Status HandleDeviceSetIrqs(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_IRQ_COMMANDS_H_
