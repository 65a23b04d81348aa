#include "tools/vfio_user/stop_signals.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <iterator>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

absl::StatusOr<StopSignals> StopSignals::Block() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  const int error = ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (error != 0) return ErrnoStatus(error, "pthread_sigmask");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, "signalfd");
  return StopSignals(std::move(fd));
}

absl::Status StopSignals::Await(FdView fd, short events) const {
  pollfd poll_fds[] = {{fd.get(), events, 0}, {fd_.get(), POLLIN, 0}};
  while (::poll(poll_fds, std::size(poll_fds), -1) < 0) {
    if (errno != EINTR) return ErrnoStatus(errno, "poll");
  }
  return Check();
}

absl::Status StopSignals::Check() const {
  // Looked at, not taken: it must go on being seen by whoever looks next.
  pollfd poll_fd = {fd_.get(), POLLIN, 0};
  if (::poll(&poll_fd, 1, 0) <= 0) return absl::OkStatus();
  return absl::CancelledError("stopped by a signal; nothing was left behind");
}

}  // namespace vfio_user
