// What a device says of parts of its BARs that clients may reach without messages.
#ifndef SERVER_REGION_DESCRIPTION_H_
#define SERVER_REGION_DESCRIPTION_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"
#include "server/device.h"

namespace vfio_user {

// nullptr for a BAR that the device lacks.
const BarDescription* FindBar(const DeviceDescription& description, RegionIndex index);

// The parts of a BAR with memory that clients may map, in its order.
std::vector<SparseArea> MappableAreas(const BarDescription& bar);

// InvalidArgument for memory without a file, areas that are not whole pages within their BAR, that
// cover the MSI-X table or pending bits, which the server works, or that the file does not reach,
// and a descriptor that gives clients other rights than the BAR's flags. The BARs and MSI-X must
// have passed CheckDescription's own checks.
absl::Status CheckMappableMemory(const DeviceDescription& description);

// InvalidArgument for doorbells that are no registers of 1, 2, 4 or 8 bytes, at a multiple of that,
// in a BAR that can be written, that overlap each other, MSI-X or what can be mapped, and for more
// than go with one message.
absl::Status CheckDoorbells(const DeviceDescription& description);

}  // namespace vfio_user

#endif  // SERVER_REGION_DESCRIPTION_H_
