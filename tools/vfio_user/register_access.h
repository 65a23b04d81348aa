// Registers of a width that is known only at run time.
#ifndef TOOLS_VFIO_USER_REGISTER_ACCESS_H_
#define TOOLS_VFIO_USER_REGISTER_ACCESS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/region.h"
#include "proto_defs/wire/device_info.h"

namespace vfio_user {

// OpenRegion, with where to look things up when the device has no such region.
absl::StatusOr<Region> OpenRegionForUser(const Client& client, RegionIndex index);

// OutOfRange where `count` registers of `width` bytes, one behind the other, leave the region.
absl::Status CheckInside(const Region& region, uint64_t offset, uint64_t width, uint64_t count);

// One access of `width` bytes: 1, 2, 4 or 8. Errors name the register.
absl::StatusOr<uint64_t> ReadRegister(const Region& region, uint64_t offset, uint64_t width);
absl::Status WriteRegister(const Region& region, uint64_t offset, uint64_t width, uint64_t value);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_REGISTER_ACCESS_H_
