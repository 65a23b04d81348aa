// The checks by family, a source file each.
#ifndef TESTS_CONFORMANCE_SERVER_CHECK_FAMILIES_H_
#define TESTS_CONFORMANCE_SERVER_CHECK_FAMILIES_H_

#include <span>

#include "tests/conformance/server/server_check.h"

namespace vfio_user {

std::span<const ServerCheck> NegotiationChecks();
std::span<const ServerCheck> FramingChecks();
std::span<const ServerCheck> DeviceInfoChecks();
std::span<const ServerCheck> RegionInfoChecks();
std::span<const ServerCheck> RegionAccessChecks();
std::span<const ServerCheck> DmaMapChecks();
std::span<const ServerCheck> DmaUnmapChecks();
std::span<const ServerCheck> IrqChecks();
std::span<const ServerCheck> IrqRefusalChecks();
std::span<const ServerCheck> IntxChecks();
std::span<const ServerCheck> ResetChecks();
std::span<const ServerCheck> FunctionResetChecks();
std::span<const ServerCheck> WriteMultiChecks();
std::span<const ServerCheck> IoFdsChecks();
std::span<const ServerCheck> FeatureChecks();
std::span<const ServerCheck> MigrationChecks();
std::span<const ServerCheck> DmaChecks();
std::span<const ServerCheck> WrittenPagesChecks();
std::span<const ServerCheck> DescriptorChecks();
std::span<const ServerCheck> DisconnectChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_CHECK_FAMILIES_H_
