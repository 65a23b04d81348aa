// Another program, run by this process.
#ifndef TOOLS_VFIO_USER_CHILD_PROCESS_H_
#define TOOLS_VFIO_USER_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// How a process ended.
struct ProcessEnd {
  int exit_code = 0;     // 128 + signal when a signal ended it, as in a shell.
  int signal = 0;        // 0 when it exited by itself.
  long max_rss_kib = 0;  // The most memory it had resident at a time.
};

// What becomes the child's standard streams: borrowed until Spawn returns, -1 for this process's.
struct StandardStreams {
  int in = -1;
  int out = -1;
  int err = -1;
};

// Owns the process: it is killed and reaped with this. Movable. Thread-compatible.
class ChildProcess {
 public:
  // Runs the program at `program` (a path) with `arguments` behind its name. It gets none of this
  // process's descriptors but the streams, no blocked signal, and a process group of its own, so
  // that a terminal's ^C reaches this process alone, which then ends the child.
  static absl::StatusOr<ChildProcess> Spawn(const std::string& program,
                                            const std::vector<std::string>& arguments,
                                            const StandardStreams& streams = {});

  ChildProcess(ChildProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  // Readable once the process has ended.
  FdView pidfd() const { return pidfd_; }

  // Does nothing to a process that was waited for.
  void Signal(int signal) const;

  // DeadlineExceeded when it still runs after `timeout`; FailedPrecondition when it was waited for
  // already.
  absl::StatusOr<ProcessEnd> Wait(absl::Duration timeout);

 private:
  ChildProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid_;  // -1 once reaped, and when moved from.
  UniqueFd pidfd_;
};

// A pipe; both ends are close-on-exec.
struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
absl::StatusOr<Pipe> MakePipe();

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_CHILD_PROCESS_H_
