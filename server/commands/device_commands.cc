#include "server/commands/device_commands.h"

#include <cstddef>
#include <span>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/region_description.h"

namespace vfio_user {
namespace {

// As a client sees it that takes no descriptors.
RegionInfo WithoutMemory(RegionInfo region) {
  region.flags = region.flags & (RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite);
  region.file_offset = 0;
  region.sparse_areas.reset();
  return region;
}

}  // namespace

absl::Status HandleDeviceGetInfo(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_RETURN_IF_ERROR(DeviceInfoRequest::Parse(command.body).status());
  DeviceInfo info;
  info.flags = DeviceInfoFlags(DeviceInfoFlag::kReset) | DeviceInfoFlag::kPci;
  info.num_regions = kPciRegionCount;
  info.num_irqs = kPciIrqCount;
  Answer(*client.channel, command.header, {.body = Serialize(info), .payload = {}, .fds = {}});
  return absl::OkStatus();
}

absl::Status HandleDeviceGetRegionInfo(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionInfoRequest request,
                             RegionInfoRequest::Parse(command.body));
  const RegionInfo* const region = client.slot.region(request.index);
  if (region == nullptr) {
    return absl::InvalidArgumentError(fmt::format("GET_REGION_INFO: region is {}, want below {}",
                                                  request.index, kPciRegionCount));
  }
  client.body.clear();
  WireWriter out(client.body);
  const BarDescription* const bar = FindBar(client.slot.device().description(), request.index);
  if (bar == nullptr || !bar->memory.has_value() || client.max_msg_fds == 0) {
    WithoutMemory(*region).AppendTo(out, request.argsz);
    Answer(*client.channel, command.header, {.body = client.body, .payload = {}, .fds = {}});
    return absl::OkStatus();
  }
  region->AppendTo(out, request.argsz);
  // The descriptor goes with the areas, or the client would have to close one that it cannot use.
  const FdView file = *bar->memory->file;
  const size_t fds = region->FullSize() <= request.argsz ? 1 : 0;
  Answer(*client.channel, command.header,
         {.body = client.body, .payload = {}, .fds = std::span(&file, fds)});
  return absl::OkStatus();
}

absl::Status HandleDeviceReset(ClientContext& client, IncomingCommand& command) {
  if (!command.body.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("DEVICE_RESET: body is {} bytes, want none", command.body.size()));
  }
  // The channel outlives its connection in this share, and only says that it is broken then.
  client.slot.Reset(
      [channel = client.channel, header = command.header] { Answer(*channel, header); });
  return absl::OkStatus();
}

}  // namespace vfio_user
