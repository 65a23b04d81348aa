#include "server/commands/irq_commands.h"

#include <utility>

#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

absl::Status HandleDeviceGetIrqInfo(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const IrqInfoRequest request, IrqInfoRequest::Parse(command.body));
  VFIO_USER_ASSIGN_OR_RETURN(const IrqInfo info, client.slot.interrupts().Info(request.index));
  Answer(*client.channel, command.header, {.body = Serialize(info), .payload = {}, .fds = {}});
  return absl::OkStatus();
}

absl::Status HandleDeviceSetIrqs(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const SetIrqsRequest request, SetIrqsRequest::Parse(command.body));
  VFIO_USER_RETURN_IF_ERROR(client.slot.SetIrqs(request, std::move(command.fds)));
  const bool triggers = request.action == IrqAction::kTrigger &&
                        request.data != IrqData::kEventfd && request.count > 0;
  if (!triggers) {
    // Not after what unmasking makes due: the worker may be waiting for memory of the client's,
    // which QEMU does not serve before it has this answer.
    Answer(*client.channel, command.header);
    return absl::OkStatus();
  }
  // Behind the signals, so that a client that asked for them finds them when it has the answer.
  client.slot.work().Post(
      [channel = client.channel, header = command.header] { Answer(*channel, header); });
  return absl::OkStatus();
}

}  // namespace vfio_user
