// How a status leaves the process.
#ifndef TOOLS_VFIO_USER_EXIT_CODE_H_
#define TOOLS_VFIO_USER_EXIT_CODE_H_

#include <string_view>

#include "absl/status/status.h"

namespace vfio_user {

inline constexpr int kExitDone = 0;
inline constexpr int kExitRefused = 1;  // The peer, the device or the machine refused or broke.
inline constexpr int kExitUsage = 2;    // The command line was wrong.

// A status for a command line that cannot be carried out as it stands. The code alone would not
// tell: a device may answer InvalidArgument too.
absl::Status UsageError(std::string_view message);

int ExitCodeOf(const absl::Status& status);

// Prints the one line of an error on stderr, nothing for OK. Returns the exit code.
int ReportToUser(const absl::Status& status);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_EXIT_CODE_H_
