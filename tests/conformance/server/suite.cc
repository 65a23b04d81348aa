#include "tests/conformance/server/suite.h"

#include <string>

#include "proto_defs/base/status_macros.h"
#include "tests/conformance/server/check_families.h"

namespace vfio_user {
namespace {

using Family = std::span<const ServerCheck> (*)();

constexpr Family kFamilies[] = {
    NegotiationChecks,
    FramingChecks,
    DeviceInfoChecks,
    RegionInfoChecks,
    RegionAccessChecks,
    WriteMultiChecks,
    IoFdsChecks,
    DmaMapChecks,
    DmaUnmapChecks,
    IrqChecks,
    IrqRefusalChecks,
    IntxChecks,
    ResetChecks,
    FeatureChecks,
    DmaChecks,
    WrittenPagesChecks,
    DescriptorChecks,
    DisconnectChecks,
    // Last, because a device that one of them leaves stopped does nothing else.
    MigrationChecks,
    FunctionResetChecks,
};

}  // namespace

std::vector<ServerCheck> ServerChecks(std::string_view prefix) {
  std::vector<ServerCheck> checks;
  for (const Family family : kFamilies) {
    for (const ServerCheck& check : family()) {
      if (check.name.starts_with(prefix)) checks.push_back(check);
    }
  }
  return checks;
}

absl::Status StillServes(const SuiteOptions& options) {
  const ServerTraits nothing_known;
  return ServerUnderTest(options, nothing_known).Connect().status();
}

absl::StatusOr<ServerTraits> DiscoverTraits(const SuiteOptions& options) {
  std::vector<std::string> remarks;
  VFIO_USER_ASSIGN_OR_RETURN(
      WireClient client,
      WireClient::Connect(options.socket_path,
                          {options.patience, Deadline::In(options.check_timeout), &remarks}));
  return DiscoverTraits(client);
}

}  // namespace vfio_user
