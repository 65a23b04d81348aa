#include "tools/vfio_user/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/deadline.h"

namespace vfio_user {
namespace {

// posix_spawn() and its helpers return an errno; the first one counts.
class FirstError {
 public:
  void Add(int error) {
    if (first_ == 0) first_ = error;
  }
  int get() const { return first_; }

 private:
  int first_ = 0;
};

int SetAttributes(posix_spawnattr_t& attributes) {
  FirstError error;
  sigset_t none;
  sigemptyset(&none);
  // A signal that this process ignores would stay ignored across exec.
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) sigaddset(&defaults, signal);
  error.Add(::posix_spawnattr_setsigmask(&attributes, &none));
  error.Add(::posix_spawnattr_setsigdefault(&attributes, &defaults));
  error.Add(::posix_spawnattr_setpgroup(&attributes, 0));
  error.Add(::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP));
  return error.get();
}

int SetStreams(posix_spawn_file_actions_t& actions, const StandardStreams& streams) {
  FirstError error;
  const std::array<std::pair<int, int>, 3> pairs = {
      {{streams.in, STDIN_FILENO}, {streams.out, STDOUT_FILENO}, {streams.err, STDERR_FILENO}}};
  for (const auto& [from, to] : pairs) {
    if (from >= 0) error.Add(::posix_spawn_file_actions_adddup2(&actions, from, to));
  }
  return error.get();
}

absl::StatusOr<pid_t> SpawnProcess(const std::string& program,
                                   const std::vector<std::string>& arguments,
                                   const StandardStreams& streams) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  ::posix_spawnattr_init(&attributes);
  absl::Cleanup free_attributes = [&] { ::posix_spawnattr_destroy(&attributes); };
  ::posix_spawn_file_actions_init(&actions);
  absl::Cleanup free_actions = [&] { ::posix_spawn_file_actions_destroy(&actions); };
  FirstError error;
  error.Add(SetAttributes(attributes));
  error.Add(SetStreams(actions, streams));
  pid_t pid = -1;
  if (error.get() == 0) {
    error.Add(::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), environ));
  }
  if (error.get() != 0) return ErrnoStatus(error.get(), fmt::format("cannot run {}", program));
  return pid;
}

ProcessEnd EndOf(int wait_status, const rusage& usage) {
  ProcessEnd end;
  end.max_rss_kib = usage.ru_maxrss;
  if (WIFSIGNALED(wait_status)) {
    end.signal = WTERMSIG(wait_status);
    end.exit_code = 128 + end.signal;
  } else {
    end.exit_code = WEXITSTATUS(wait_status);
  }
  return end;
}

absl::Status WaitReadable(int fd, Deadline deadline) {
  pollfd poll_fd = {fd, POLLIN, 0};
  while (true) {
    const int ready = ::poll(&poll_fd, 1, deadline.PollMilliseconds());
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return absl::DeadlineExceededError("the process still runs");
    if (errno != EINTR) return ErrnoStatus(errno, "poll");
  }
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Spawn(const std::string& program,
                                                 const std::vector<std::string>& arguments,
                                                 const StandardStreams& streams) {
  const absl::StatusOr<pid_t> pid = SpawnProcess(program, arguments, streams);
  if (!pid.ok()) return pid.status();
  // No wrapper in this C library. The process cannot vanish meanwhile: nobody else reaps it.
  ChildProcess child(*pid, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0))));
  if (!child.pidfd_.valid()) return ErrnoStatus(errno, "pidfd_open");
  return child;
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  Signal(SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ChildProcess::Signal(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

absl::StatusOr<ProcessEnd> ChildProcess::Wait(absl::Duration timeout) {
  if (pid_ < 0) return absl::FailedPreconditionError("the process was waited for already");
  const absl::Status ended = WaitReadable(pidfd_.get(), Deadline::In(timeout));
  if (!ended.ok()) return ended;
  int wait_status = 0;
  rusage usage = {};
  if (::wait4(pid_, &wait_status, 0, &usage) < 0) return ErrnoStatus(errno, "wait4");
  pid_ = -1;
  return EndOf(wait_status, usage);
}

absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> fds = {-1, -1};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe2");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

}  // namespace vfio_user
