#include "tools/vfio_user/stop_signals.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <iterator>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {
namespace {

constexpr int kStopSignals[] = {SIGINT, SIGTERM};

// By the handler; 0 for none.
volatile std::sig_atomic_t noted_signal = 0;

extern "C" void NoteSignal(int signal) { noted_signal = signal; }

}  // namespace

int StopSignalThatCame() {
  if (noted_signal != 0) return noted_signal;
  sigset_t pending;
  ::sigpending(&pending);
  for (const int signal : kStopSignals) {
    if (sigismember(&pending, signal) == 1) return signal;
  }
  return 0;
}

std::string_view StopSignalName(int signal) { return signal == SIGINT ? "SIGINT" : "SIGTERM"; }

absl::Status NoteStopSignals() {
  struct sigaction action = {};
  action.sa_handler = NoteSignal;
  // What is interrupted goes on, so that what it is part of can be judged.
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (const int signal : kStopSignals) {
    if (::sigaction(signal, &action, nullptr) != 0) return ErrnoStatus(errno, "sigaction");
  }
  return absl::OkStatus();
}

absl::StatusOr<StopSignals> StopSignals::Block() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : kStopSignals) sigaddset(&signals, signal);
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
  const int signal = StopSignalThatCame();
  if (signal == 0) return absl::OkStatus();
  return absl::CancelledError(fmt::format("stopped by {}", StopSignalName(signal)));
}

}  // namespace vfio_user
