#include "server/device_commands.h"

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

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
  region->AppendTo(out, request.argsz);
  Answer(*client.channel, command.header, {.body = client.body, .payload = {}, .fds = {}});
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
