#include "server/region_commands.h"

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

// Whether the client may do this at all; what the bytes mean is the device's.
absl::Status CheckAccess(const ClientContext& client, const RegionAccess& access,
                         RegionFlag direction) {
  const RegionInfo* const region = client.slot.region(access.region);
  if (region == nullptr || region->size == 0) {
    return absl::InvalidArgumentError(fmt::format("the device has no region {}", access.region));
  }
  if (access.count > client.max_data_xfer_bytes) {
    return absl::InvalidArgumentError(fmt::format("count is {}, negotiated are at most {}",
                                                  access.count, client.max_data_xfer_bytes));
  }
  if (access.offset > region->size || access.count > region->size - access.offset) {
    return absl::InvalidArgumentError(fmt::format("{} {:#x} + {:#x} is beyond its {:#x} bytes",
                                                  access.region, access.offset, access.count,
                                                  region->size));
  }
  if (!region->flags.Has(direction)) {
    return ErrnoStatus(EACCES, fmt::format("region {}", access.region));
  }
  return absl::OkStatus();
}

absl::Status WriteRegion(ClientContext& client, const RegionAccess& access,
                         std::span<const uint8_t> data) {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(client, access, RegionFlag::kWrite));
  if (access.region == RegionIndex::kConfig) {
    client.slot.WriteConfig(access.offset, std::as_bytes(data));
    return absl::OkStatus();
  }
  if (data.empty()) return absl::OkStatus();
  return client.slot.device().WriteRegion(access.region, access.offset, std::as_bytes(data));
}

// `access` is what the reply to either begins with.
void AnswerAccess(ClientContext& client, const MessageHeader& header, const RegionAccess& access,
                  std::span<const std::byte> data) {
  client.body.clear();
  WireWriter out(client.body);
  access.AppendTo(out);
  Answer(*client.channel, header, {.body = client.body, .payload = {&data, 1}, .fds = {}});
}

}  // namespace

absl::Status HandleRegionRead(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionAccess access,
                             RegionAccess::Parse(command.body, "REGION_READ"));
  VFIO_USER_RETURN_IF_ERROR(
      Annotate(CheckAccess(client, access, RegionFlag::kRead), "REGION_READ"));
  if (client.data.size() < access.count) client.data.resize(access.count);
  const std::span<std::byte> data = std::span(client.data).first(access.count);
  if (access.region == RegionIndex::kConfig) {
    client.slot.ReadConfig(access.offset, data);
  } else if (!data.empty()) {
    VFIO_USER_RETURN_IF_ERROR(Annotate(
        client.slot.device().ReadRegion(access.region, access.offset, data), "REGION_READ"));
  }
  AnswerAccess(client, command.header, access, data);
  return absl::OkStatus();
}

absl::Status HandleRegionWrite(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionAccessWithData request,
                             RegionAccessWithData::Parse(command.body, "REGION_WRITE"));
  VFIO_USER_RETURN_IF_ERROR(
      Annotate(WriteRegion(client, request.access, request.data), "REGION_WRITE"));
  AnswerAccess(client, command.header, request.access, {});
  return absl::OkStatus();
}

absl::Status HandleRegionWriteMulti(ClientContext& client, IncomingCommand& command) {
  if (!client.write_multiple) {
    return absl::InvalidArgumentError("REGION_WRITE_MULTI: write_multiple was not negotiated");
  }
  VFIO_USER_ASSIGN_OR_RETURN(const WriteMultiRequest request,
                             WriteMultiRequest::Parse(command.body));
  WriteMultiReply reply;
  for (const WriteMultiEntry& entry : request.entries) {
    const absl::Status written =
        WriteRegion(client, entry.access, std::span(entry.data).first(entry.access.count));
    if (!written.ok()) {
      client.log.Write(fmt::format("refused REGION_WRITE_MULTI: write {} of {}: {}", reply.done,
                                   request.entries.size(), std::string(written.message())));
      break;
    }
    ++reply.done;
  }
  Answer(*client.channel, command.header, {.body = Serialize(reply), .payload = {}, .fds = {}});
  return absl::OkStatus();
}

}  // namespace vfio_user
