// A device server in a process of its own.
#ifndef TOOLS_VFIO_USER_CHILD_SERVER_H_
#define TOOLS_VFIO_USER_CHILD_SERVER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/unique_fd.h"
#include "tools/vfio_user/child_process.h"
#include "tools/vfio_user/temporary_directory.h"

namespace vfio_user {

// `vfio-user serve DEVICE` at a socket in a temporary directory; both go with this. The server ends
// as well when this process ends without destroying it: it watches a pipe. Movable.
// Thread-compatible.
class ChildServer {
 public:
  struct Options {
    std::string program = "/proc/self/exe";  // The vfio-user binary.
    std::string device = "dma-copy";
    std::vector<std::string> arguments = {};     // More of `serve`.
    absl::Duration timeout = absl::Seconds(30);  // For starting, and for stopping.
  };

  // Returns once it listens. When it does not, the error says what the server said.
  static absl::StatusOr<ChildServer> Start(const Options& options);

  ChildServer(ChildServer&&) = default;
  ChildServer& operator=(ChildServer&&) = delete;

  const std::string& socket_path() const { return socket_path_; }
  ChildProcess& process() { return process_; }

  // Asks it to end, by SIGTERM, and waits for that. An error says how it ended otherwise.
  absl::Status Stop();

 private:
  struct Parts {
    TemporaryDirectory directory;
    std::string socket_path;
    UniqueFd lifeline;  // The server ends when this, its standard input, is closed.
    UniqueFd talk;      // The server's stderr. Kept open: writing to it must not kill it.
    ChildProcess process;
  };

  ChildServer(Parts parts, absl::Duration timeout);

  absl::Status WaitUntilItListens();

  absl::Duration timeout_;
  TemporaryDirectory directory_;
  std::string socket_path_;
  UniqueFd lifeline_;
  UniqueFd talk_;
  ChildProcess process_;  // Last, so that it is gone before its directory is.
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_CHILD_SERVER_H_
