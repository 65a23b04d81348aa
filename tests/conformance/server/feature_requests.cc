#include "tests/conformance/server/feature_requests.h"

#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {

WireRequest FeatureRequest(uint32_t flags, std::vector<uint8_t> data, uint32_t argsz) {
  WireRequest request = {.command = Command::kDeviceFeature};
  WireWriter out(request.body);
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(flags);
  out.WriteBytes(data);
  return request;
}

absl::StatusOr<std::vector<uint8_t>> GetFeature(WireClient& client, Feature feature,
                                                std::vector<uint8_t> data) {
  VFIO_USER_ASSIGN_OR_RETURN(
      const WireClient::Message reply,
      client.Do(FeatureRequest(FlagsOf(feature, kFeatureGet), std::move(data))));
  VFIO_USER_ASSIGN_OR_RETURN(DeviceFeature parsed, DeviceFeature::Parse(reply.body));
  if (parsed.feature != feature) {
    return Misbehaved(fmt::format("{} was asked for, and {} came", feature, parsed.feature));
  }
  return std::move(parsed.data);
}

WireRequest StartLoggingRequest(const LoggingNumbers& numbers) {
  std::vector<uint8_t> data;
  WireWriter out(data);
  out.Write<uint64_t>(numbers.page_size);
  out.Write<uint32_t>(numbers.num_ranges);
  out.Write<uint32_t>(0);
  for (const DmaLoggingRange& range : numbers.ranges) {
    out.Write<uint64_t>(ToU64(range.address));
    out.Write<uint64_t>(range.length);
  }
  return FeatureRequest(FlagsOf(Feature::kDmaLoggingStart, kFeatureSet), std::move(data));
}

WireRequest StopLoggingRequest() {
  return FeatureRequest(FlagsOf(Feature::kDmaLoggingStop, kFeatureSet));
}

std::vector<uint8_t> ReportData(uint64_t address, uint64_t length, uint64_t page_size) {
  std::vector<uint8_t> data;
  WireWriter out(data);
  out.Write<uint64_t>(address);
  out.Write<uint64_t>(length);
  out.Write<uint64_t>(page_size);
  return data;
}

absl::StatusOr<MigState> GetState(WireClient& client) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> data,
                             GetFeature(client, Feature::kMigDeviceState));
  VFIO_USER_ASSIGN_OR_RETURN(const MigDeviceState state, MigDeviceState::Parse(data));
  return state.state;
}

WireRequest SetStateRequest(MigState state) {
  return FeatureRequest(FlagsOf(Feature::kMigDeviceState, kFeatureSet),
                        Serialize(MigDeviceState{.state = state}));
}

absl::Status SetState(WireClient& client, MigState state) {
  return InCase(client.Do(SetStateRequest(state)).status(), ToText(state));
}

}  // namespace vfio_user
