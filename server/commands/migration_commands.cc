#include "server/commands/migration_commands.h"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/migration/migration.h"

namespace vfio_user {
namespace {

absl::Status CheckData(const ClientContext& client, std::string_view command, size_t bytes) {
  if (!client.slot.migration().supported()) {
    return absl::InvalidArgumentError(fmt::format("{}: the device cannot be migrated", command));
  }
  if (bytes > client.max_data_xfer_bytes) {
    return absl::InvalidArgumentError(fmt::format("{}: size is {}, negotiated are at most {}",
                                                  command, bytes, client.max_data_xfer_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status HandleMigDataRead(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const MigDataReadRequest request,
                             MigDataReadRequest::Parse(command.body));
  VFIO_USER_RETURN_IF_ERROR(CheckData(client, "MIG_DATA_READ", request.size));
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> data,
                             client.slot.migration().Read(request.size));
  client.body.clear();
  WireWriter out(client.body);
  MigDataReadReply{.data = data}.AppendTo(out);
  Answer(*client.channel, command.header, {.body = client.body, .payload = {}, .fds = {}});
  return absl::OkStatus();
}

absl::Status HandleMigDataWrite(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const MigDataWriteRequest request,
                             MigDataWriteRequest::Parse(command.body));
  VFIO_USER_RETURN_IF_ERROR(CheckData(client, "MIG_DATA_WRITE", request.data.size()));
  VFIO_USER_RETURN_IF_ERROR(client.slot.migration().Write(request.data));
  Answer(*client.channel, command.header);
  return absl::OkStatus();
}

}  // namespace vfio_user
