#include "server/irq_commands.h"

#include <cstdint>
#include <utility>
#include <vector>

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
  InterruptTable& interrupts = client.slot.interrupts();
  VFIO_USER_ASSIGN_OR_RETURN(std::vector<uint32_t> vectors,
                             interrupts.Apply(request, std::move(command.fds)));
  if (vectors.empty()) {
    Answer(*client.channel, command.header);
    return absl::OkStatus();
  }
  // A signal may block where the client wants it to (see EventFd), and this thread must not: it is
  // the one that sees the client leave.
  client.slot.work().Post([&interrupts, index = request.index, vectors = std::move(vectors),
                           channel = client.channel, header = command.header] {
    for (const uint32_t vector : vectors) interrupts.Trigger(index, vector);
    Answer(*channel, header);
  });
  return absl::OkStatus();
}

}  // namespace vfio_user
