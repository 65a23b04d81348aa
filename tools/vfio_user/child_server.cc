#include "tools/vfio_user/child_server.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "tools/vfio_user/child_process.h"
#include "tools/vfio_user/temporary_directory.h"

namespace vfio_user {
namespace {

// The next line without its newline. What there is when the other end closes first, which may be
// nothing; DeadlineExceeded with the same when the deadline passes.
absl::StatusOr<std::string> ReadLine(int fd, Deadline deadline) {
  std::string line;
  while (true) {
    pollfd poll_fd = {fd, POLLIN, 0};
    const int ready = ::poll(&poll_fd, 1, deadline.PollMilliseconds());
    if (ready == 0) {
      return absl::DeadlineExceededError(
          fmt::format("the server does not say that it listens, only \"{}\"", line));
    }
    if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "poll");
    if (ready < 0) continue;
    // Byte by byte, so that nothing behind the line is taken: this happens once per server.
    char c = '\0';
    const ssize_t count = ::read(fd, &c, 1);
    if (count < 0) return ErrnoStatus(errno, "read from the server's stderr");
    if (count == 0 || c == '\n') return line;
    line += c;
  }
}

}  // namespace

ChildServer::ChildServer(Parts parts, absl::Duration timeout)
    : timeout_(timeout),
      directory_(std::move(parts.directory)),
      socket_path_(std::move(parts.socket_path)),
      lifeline_(std::move(parts.lifeline)),
      talk_(std::move(parts.talk)),
      process_(std::move(parts.process)) {}

absl::StatusOr<ChildServer> ChildServer::Start(const Options& options) {
  VFIO_USER_ASSIGN_OR_RETURN(TemporaryDirectory directory, TemporaryDirectory::Create());
  VFIO_USER_ASSIGN_OR_RETURN(Pipe lifeline, MakePipe());
  VFIO_USER_ASSIGN_OR_RETURN(Pipe talk, MakePipe());
  std::string socket_path = directory.File("device.sock");
  std::vector<std::string> arguments = {"serve", options.device, "--socket", socket_path,
                                        "--until-eof"};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  VFIO_USER_ASSIGN_OR_RETURN(
      ChildProcess process,
      ChildProcess::Spawn(options.program, arguments,
                          {.in = lifeline.read_end.get(), .out = -1, .err = talk.write_end.get()}));
  ChildServer server({std::move(directory), std::move(socket_path), std::move(lifeline.write_end),
                      std::move(talk.read_end), std::move(process)},
                     options.timeout);
  // Closed here, so that the end of the server is the end of the pipe.
  talk.write_end.Reset();
  VFIO_USER_RETURN_IF_ERROR(server.WaitUntilItListens());
  return server;
}

absl::Status ChildServer::WaitUntilItListens() {
  const absl::StatusOr<std::string> line = ReadLine(talk_.get(), Deadline::In(timeout_));
  if (!line.ok()) return line.status();
  if (line->starts_with("serving ")) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("the server did not start; it said \"{}\"", *line));
}

absl::Status ChildServer::Stop() {
  process_.Signal(SIGTERM);
  const absl::StatusOr<ProcessEnd> end = process_.Wait(timeout_);
  if (!end.ok()) return Annotate(end.status(), "stopping the server");
  if (end->exit_code == 0) return absl::OkStatus();
  return absl::InternalError(fmt::format("the server ended with exit code {}", end->exit_code));
}

}  // namespace vfio_user
