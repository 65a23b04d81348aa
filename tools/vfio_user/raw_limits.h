// What the machine does without this library: the least that its figures can come to.
#ifndef TOOLS_VFIO_USER_RAW_LIMITS_H_
#define TOOLS_VFIO_USER_RAW_LIMITS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/vfio_user/latency_summary.h"
#include "tools/vfio_user/measurement.h"
#include "tools/vfio_user/transfer_sweep.h"

namespace vfio_user {

// Copies of `bytes` within this process's memory, one after the other.
struct RawCopyFigures {
  std::string name;  // Of the call that copies.
  uint64_t bytes = 0;
  double bytes_per_second = 0;
};

// Every size by memcpy(), and by one pread() of /proc/self/mem for each: the least that a device
// can take which has this memory mapped, or its descriptor. A device in another process that makes
// the same copies reads and writes, where these do both at once.
absl::StatusOr<std::vector<RawCopyFigures>> MeasureRawCopies(const SweepOptions& options);

// A byte that two threads send each other over a socket, to and fro: two wake-ups, as a register
// access has, and nothing else.
absl::StatusOr<LatencySummary> MeasurePingPong(const MeasurementOptions& options);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_RAW_LIMITS_H_
