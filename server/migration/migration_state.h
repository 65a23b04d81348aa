// The migration states, and the ways between them: pure.
#ifndef SERVER_MIGRATION_MIGRATION_STATE_H_
#define SERVER_MIGRATION_MIGRATION_STATE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/device_feature.h"

namespace vfio_user {

// Whether the device works in this state, as opposed to being at rest.
constexpr bool DeviceRunsIn(MigState state) {
  return state == MigState::kRunning || state == MigState::kPreCopy;
}

// The states to go through from `from` to reach `to`, in order: `to` is the last one, and there is
// none where that is `from`. Each step is one of these:
//
//   RUNNING <-> STOP, RUNNING <-> PRE_COPY, PRE_COPY -> STOP_COPY, STOP <-> STOP_COPY,
//   STOP <-> RESUMING
//
// It is the shortest way that does not lead through PRE_COPY or STOP_COPY, where saving would begin
// and end for nothing. InvalidArgument (EINVAL) for what cannot be asked for: ERROR, the P2P
// states and any other number, from STOP_COPY back to PRE_COPY, and anything from ERROR, which only
// a reset leaves.
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE".
absl::StatusOr<std::vector<MigState>> MigrationPath(MigState from, MigState to);

}  // namespace vfio_user

#endif  // SERVER_MIGRATION_MIGRATION_STATE_H_
