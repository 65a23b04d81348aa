// SIGINT and SIGTERM as something to look for instead of something that strikes.
#ifndef TOOLS_VFIO_USER_STOP_SIGNALS_H_
#define TOOLS_VFIO_USER_STOP_SIGNALS_H_

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// Which of the two has come since it was blocked or noted; 0 for none. Of the main thread.
int StopSignalThatCame();

// "SIGINT" or "SIGTERM".
std::string_view StopSignalName(int signal);

// For work that cannot look while it waits: the first signal is noted, and a second one ends the
// process as if nobody had asked for this.
absl::Status NoteStopSignals();

// From Block on the two signals no longer end the process. Call it before the first thread starts:
// threads inherit the mask, and a thread without it would be struck. Movable. Thread-safe.
class StopSignals {
 public:
  static absl::StatusOr<StopSignals> Block();

  // Waits until `fd` has one of `events`, as poll() names them. Cancelled when a signal comes
  // first.
  absl::Status Await(FdView fd, short events) const;

  // Readable when a signal has come; it stays so. Borrowed.
  FdView fd() const { return fd_; }

  // OK until a signal has come, then Cancelled: "stopped by SIGINT".
  absl::Status Check() const;

 private:
  explicit StopSignals(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_STOP_SIGNALS_H_
