#include "server/commands/region_commands.h"

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/pci/pci_config_space.h"

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

absl::StatusOr<PciWriteEffect> WriteRegion(ClientContext& client, const RegionAccess& access,
                                           std::span<const uint8_t> data) {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(client, access, RegionFlag::kWrite));
  return client.slot.pci().Write(access.region, access.offset, std::as_bytes(data));
}

// Resets the device because a write to config space asked for it, and answers that with `body`.
absl::Status ResetThenAnswer(ClientContext& client, const MessageHeader& header,
                             std::vector<uint8_t> body) {
  if (client.slot.work().full()) {
    return ErrnoStatus(
        EBUSY, fmt::format("{}: too many resets wait for the device already", header.command));
  }
  client.slot.Reset([channel = client.channel, header, body = std::move(body)] {
    Answer(*channel, header, {.body = body, .payload = {}, .fds = {}});
  });
  return absl::OkStatus();
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
  VFIO_USER_RETURN_IF_ERROR(
      Annotate(client.slot.pci().Read(access.region, access.offset, data), "REGION_READ"));
  AnswerAccess(client, command.header, access, data);
  return absl::OkStatus();
}

absl::Status HandleRegionWrite(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionAccessWithData request,
                             RegionAccessWithData::Parse(command.body, "REGION_WRITE"));
  const absl::StatusOr<PciWriteEffect> effect = WriteRegion(client, request.access, request.data);
  VFIO_USER_RETURN_IF_ERROR(Annotate(effect.status(), "REGION_WRITE"));
  if (*effect == PciWriteEffect::kFunctionReset) {
    return ResetThenAnswer(client, command.header, Serialize(request.access));
  }
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
  bool reset = false;
  for (const WriteMultiEntry& entry : request.entries) {
    const absl::StatusOr<PciWriteEffect> effect =
        WriteRegion(client, entry.access, std::span(entry.data).first(entry.access.count));
    if (!effect.ok()) {
      client.log.Write(fmt::format("refused REGION_WRITE_MULTI: write {} of {}: {}", reply.done,
                                   request.entries.size(), std::string(effect.status().message())));
      break;
    }
    ++reply.done;
    // Which would undo what comes after it.
    reset = *effect == PciWriteEffect::kFunctionReset;
    if (reset) break;
  }
  if (reset) return ResetThenAnswer(client, command.header, Serialize(reply));
  Answer(*client.channel, command.header, {.body = Serialize(reply), .payload = {}, .fds = {}});
  return absl::OkStatus();
}

}  // namespace vfio_user
