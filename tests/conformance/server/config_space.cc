#include "tests/conformance/server/config_space.h"

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {

WireRequest ReadRequest(RegionIndex region, uint64_t offset, uint32_t count) {
  return {.command = Command::kRegionRead,
          .body = Serialize(RegionAccess{.offset = offset, .region = region, .count = count})};
}

WireRequest WriteRequest(RegionIndex region, uint64_t offset, std::span<const uint8_t> data) {
  const RegionAccess access = {
      .offset = offset, .region = region, .count = static_cast<uint32_t>(data.size())};
  return {.command = Command::kRegionWrite,
          .body = Serialize(RegionAccessWithData{.access = access, .data = data})};
}

absl::StatusOr<std::vector<uint8_t>> ReadConfig(WireClient& client, uint64_t offset,
                                                uint32_t count) {
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                             client.Do(ReadRequest(RegionIndex::kConfig, offset, count)));
  VFIO_USER_ASSIGN_OR_RETURN(const RegionAccessWithData got,
                             RegionAccessWithData::Parse(reply.body, "REGION_READ reply"));
  const RegionAccess want = {.offset = offset, .region = RegionIndex::kConfig, .count = count};
  if (got.access != want) {
    return Misbehaved(fmt::format("the reply is about {}, want {}", got.access, want));
  }
  return std::vector<uint8_t>(got.data.begin(), got.data.end());
}

absl::Status WriteConfig(WireClient& client, uint64_t offset, std::span<const uint8_t> data) {
  return client.Do(WriteRequest(RegionIndex::kConfig, offset, data)).status();
}

absl::Status NeedsConfig(const ServerUnderTest& server) {
  if (server.traits().config.empty()) return Skip("no config space that can be read");
  return absl::OkStatus();
}

}  // namespace vfio_user
