#include "server/commands/doorbell_commands.h"

#include <cstdint>
#include <span>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/events/doorbells.h"

namespace vfio_user {
namespace {

// In bytes. More than any list of doorbells is long: a client that offers more room does not mean
// it. libvfio-user has the same bound.
constexpr uint32_t kMostArgsz = 1 << 20;

}  // namespace

absl::Status HandleDeviceGetRegionIoFds(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionIoFdsRequest request,
                             RegionIoFdsRequest::Parse(command.body));
  if (request.argsz > kMostArgsz) {
    return absl::InvalidArgumentError(fmt::format(
        "DEVICE_GET_REGION_IO_FDS: argsz is {}, want at most {}", request.argsz, kMostArgsz));
  }
  const RegionInfo* const region = client.slot.region(request.index);
  if (region == nullptr || region->size == 0) {
    return absl::InvalidArgumentError(
        fmt::format("DEVICE_GET_REGION_IO_FDS: the device has no region {}", request.index));
  }
  VFIO_USER_ASSIGN_OR_RETURN(Doorbells::Offer offer,
                             client.slot.doorbells().OfferOf(request.index, client.max_msg_fds));
  RegionIoFdsReply reply;
  reply.index = request.index;
  reply.entries = std::move(offer.entries);
  client.body.clear();
  WireWriter out(client.body);
  reply.AppendTo(out, request.argsz);
  std::span<const FdView> fds = offer.fds;
  if (reply.FullSize() > request.argsz) fds = {};
  Answer(*client.channel, command.header, {.body = client.body, .payload = {}, .fds = fds});
  return absl::OkStatus();
}

}  // namespace vfio_user
