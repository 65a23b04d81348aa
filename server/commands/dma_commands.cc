#include "server/commands/dma_commands.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/dma/client_dma_space.h"
#include "server/dma/dirty_log.h"
#include "server/dma/dma_write_log.h"

namespace vfio_user {
namespace {

// Whether the bitmap that `request` wants can be had, before anything is unmapped for it.
absl::Status CheckDirtyBitmap(const ClientContext& client, const DmaUnmapRequest& request,
                              uint64_t bitmap_bytes) {
  if (!client.slot.client_memory().write_log().on()) {
    return absl::InvalidArgumentError("DMA_UNMAP: a dirty bitmap, and writes are not being logged");
  }
  if (request.bitmap->size_bytes < bitmap_bytes) {
    return absl::InvalidArgumentError(fmt::format("DMA_UNMAP: bitmap is {} bytes, want {}",
                                                  request.bitmap->size_bytes, bitmap_bytes));
  }
  if (request.bitmap->size_bytes > client.max_data_xfer_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("DMA_UNMAP: bitmap is {} bytes, negotiated are at most {}",
                    request.bitmap->size_bytes, client.max_data_xfer_bytes));
  }
  return absl::OkStatus();
}

// What was written of a range that nothing can write any more.
std::vector<uint8_t> TakeDirtyBitmap(DmaWriteLog& log, DmaLoggingReport report, size_t bytes) {
  if (!log.Report(report).ok()) {
    // Logging was stopped while the transfers ended. Nobody knows what they wrote.
    SetBits(report.bitmap, 0, (report.length - 1) / report.page_size);
  }
  report.bitmap.resize(bytes);
  return std::move(report.bitmap);
}

}  // namespace

absl::Status HandleDmaMap(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaMapRequest request, DmaMapRequest::Parse(command.body));
  VFIO_USER_RETURN_IF_ERROR(client.slot.client_memory().Map(request, std::move(command.fds)));
  // Many come at once where a client has many buffers.
  (void)client.channel->ReplySoon(command.header);
  return absl::OkStatus();
}

absl::Status HandleDmaUnmap(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaUnmapRequest request, DmaUnmapRequest::Parse(command.body));
  ClientDmaSpace& memory = client.slot.client_memory();
  DmaLoggingReport report{.address = request.address, .length = request.size};
  if (request.bitmap) {
    report.page_size = request.bitmap->page_size;
    VFIO_USER_RETURN_IF_ERROR(CheckDirtyBitmap(client, request, report.BitmapBytes()));
  }
  // The channel outlives its connection in this share, and only says that it is broken then.
  std::function<void()> released = [channel = client.channel, header = command.header, request,
                                    report, &memory] {
    DmaUnmapReply reply;
    reply.echo = request;
    if (request.bitmap) {
      reply.bitmap = TakeDirtyBitmap(memory.write_log(), report, request.bitmap->size_bytes);
    }
    Answer(*channel, header, {.body = Serialize(reply), .payload = {}, .fds = {}});
  };
  if (request.flags.Has(DmaUnmapFlag::kAll)) {
    memory.UnmapAll(std::move(released));
    return absl::OkStatus();
  }
  return memory.Unmap(request.address, request.size, std::move(released));
}

}  // namespace vfio_user
