// How a status leaves the process.
#ifndef TOOLS_VFIO_USER_EXIT_CODE_H_
#define TOOLS_VFIO_USER_EXIT_CODE_H_

#include <string_view>

#include "absl/status/status.h"

namespace vfio_user {

inline constexpr int kExitDone = 0;
// No server is there, or it, its device or the machine refused or broke.
inline constexpr int kExitRefused = 1;
// The command line was wrong, or names a file that cannot be read or a place where none can be
// made.
inline constexpr int kExitUsage = 2;
inline constexpr int kExitStopped = 128;  // And the number of the signal, as shells say it.

// A status for a command line that cannot be carried out as it stands. The code alone would not
// tell: a device may answer InvalidArgument too.
absl::Status UsageError(std::string_view message);

int ExitCodeOf(const absl::Status& status);

// Prints the one line of an error on stderr, nothing for OK. Returns the exit code.
int ReportToUser(const absl::Status& status);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_EXIT_CODE_H_
