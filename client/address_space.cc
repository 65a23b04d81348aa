#include "client/address_space.h"

#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/dma_mapper.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// A server that takes no larger region than this would need thousands of them.
constexpr uint64_t kLeastRegionBytes = uint64_t{64} << 30;

// What processes have of their address space: 2^47 bytes on x86-64, 2^48 on most arm64.
absl::StatusOr<IovaRange> UserAddresses() {
  // The kernel puts the program's name at the top of it, below at most one page.
  const uint64_t name = ::getauxval(AT_EXECFN);
  // 0 where whoever runs this process leaves it out.
  if (name == 0) {
    return absl::UnimplementedError(
        "the system does not tell where the address space ends: map memory piece by piece");
  }
  // Nothing is ever there, and a device that follows a null pointer is better told so.
  const auto first_page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return IovaRange{Iova{first_page}, std::bit_ceil(name) - first_page};
}

// Whether a region may have been refused for its size. libvfio-user says ENOSPC above 8 TiB. EIO
// stands for an error without a number.
bool MayMeanTheSize(const absl::Status& refusal) {
  const int error = ErrnoOf(refusal);
  return error == ENOSPC || error == EINVAL || error == E2BIG || error == EIO;
}

}  // namespace

absl::StatusOr<AddressSpaceMapping> AddressSpaceMapping::Create(DmaMapper& mapper,
                                                                DmaMapFlags access) {
  VFIO_USER_ASSIGN_OR_RETURN(const IovaRange addresses, UserAddresses());
  AddressSpaceMapping mapping(addresses);
  uint64_t region_bytes = std::bit_ceil(mapping.range_.length);
  while (true) {
    const absl::Status mapped = mapping.MapIn(mapper, access, region_bytes);
    if (mapped.ok()) return mapping;
    VFIO_USER_RETURN_IF_ERROR(mapper.session()->status());
    // Once one was taken, the size is not what the others are refused for.
    const bool too_large = mapping.regions_.empty() && MayMeanTheSize(mapped);
    if (!too_large || region_bytes / 2 < kLeastRegionBytes) {
      return Annotate(mapped, "lending the whole address space");
    }
    region_bytes /= 2;
  }
}

absl::Status AddressSpaceMapping::MapIn(DmaMapper& mapper, DmaMapFlags access,
                                        uint64_t region_bytes) {
  const uint64_t last = ToU64(*LastByte(range_));
  uint64_t next = ToU64(range_.first);
  while (next <= last) {
    const uint64_t region_last = std::min(last, next | (region_bytes - 1));
    VFIO_USER_ASSIGN_OR_RETURN(DmaMapping region,
                               mapper.MapAddresses({Iova{next}, region_last - next + 1}, access));
    regions_.push_back(std::move(region));
    next = region_last + 1;
  }
  return absl::OkStatus();
}

absl::Status AddressSpaceMapping::Unmap() {
  absl::Status first_error;
  for (DmaMapping& region : regions_) first_error.Update(region.Unmap());
  return first_error;
}

}  // namespace vfio_user
