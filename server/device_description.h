// What a device's description means for the protocol.
#ifndef SERVER_DEVICE_DESCRIPTION_H_
#define SERVER_DEVICE_DESCRIPTION_H_

#include <array>

#include "absl/status/status.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"
#include "server/device.h"

namespace vfio_user {

// InvalidArgument for a description that is no PCI device's: a BAR twice, at no BAR's index or at
// the second register of a 64-bit one, of a type or with flags that it cannot have, or whose size
// is no power of two that its type allows; an interrupt type twice, without vectors or with more
// than there can be; MSI-X without both vectors and a BAR of memory, to be read and written, that
// holds its table and pending bits apart; what CheckMappableMemory,
// CheckDoorbells and CheckCapabilities refuse.
absl::Status CheckDescription(const DeviceDescription& description);

// What DEVICE_GET_REGION_INFO answers for each region; size 0 for those that are not there.
// The description must have passed the check.
std::array<RegionInfo, kPciRegionCount> RegionsOf(const DeviceDescription& description);

}  // namespace vfio_user

#endif  // SERVER_DEVICE_DESCRIPTION_H_
