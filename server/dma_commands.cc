#include "server/dma_commands.h"

#include <functional>
#include <utility>

#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

absl::Status HandleDmaMap(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaMapRequest request, DmaMapRequest::Parse(command.body));
  VFIO_USER_RETURN_IF_ERROR(client.slot.client_memory().Map(request, std::move(command.fds)));
  Answer(*client.channel, command.header);
  return absl::OkStatus();
}

absl::Status HandleDmaUnmap(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaUnmapRequest request, DmaUnmapRequest::Parse(command.body));
  if (request.flags.Has(DmaUnmapFlag::kGetDirtyBitmap)) {
    return absl::UnimplementedError("DMA_UNMAP: dirty pages are not logged");
  }
  // The channel outlives its connection in this share, and only says that it is broken then.
  std::function<void()> released = [channel = client.channel, header = command.header, request] {
    DmaUnmapReply reply;
    reply.echo = request;
    Answer(*channel, header, {.body = Serialize(reply), .payload = {}, .fds = {}});
  };
  if (request.flags.Has(DmaUnmapFlag::kAll)) {
    client.slot.client_memory().UnmapAll(std::move(released));
    return absl::OkStatus();
  }
  return client.slot.client_memory().Unmap(request.address, request.size, std::move(released));
}

}  // namespace vfio_user
