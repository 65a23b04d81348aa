// What a device's description means for the protocol.
#ifndef SERVER_DEVICE_DESCRIPTION_H_
#define SERVER_DEVICE_DESCRIPTION_H_

#include <array>

#include "absl/status/status.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"
#include "server/device.h"

namespace vfio_user {

// InvalidArgument for a description that is no PCI device's: a BAR twice, at no BAR's index, or
// whose size is not a power of two that 32 bits of address can hold; an interrupt type twice,
// without vectors or with more than there can be; MSI-X without both a BAR that holds its table and
// pending bits and vectors; what CheckMappableMemory and CheckDoorbells refuse.
absl::Status CheckDescription(const DeviceDescription& description);

// What DEVICE_GET_REGION_INFO answers for each region; size 0 for those that are not there.
// The description must have passed the check.
std::array<RegionInfo, kPciRegionCount> RegionsOf(const DeviceDescription& description);

// The vectors of a type, 0 without it.
uint32_t VectorCount(const DeviceDescription& description, IrqIndex index);

}  // namespace vfio_user

#endif  // SERVER_DEVICE_DESCRIPTION_H_
