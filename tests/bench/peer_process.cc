#include "tests/bench/peer_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <utility>

#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

PeerProcess::PeerProcess(const std::function<void(UniqueFd)>& run) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
  socket_ = UniqueFd(fds[0]);
  UniqueFd theirs(fds[1]);
  pid_ = ::fork();
  if (pid_ < 0) std::abort();
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  socket_.Reset();
  run(std::move(theirs));
  ::_exit(0);
}

PeerProcess::~PeerProcess() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Echo(UniqueFd socket) {
  char byte = 0;
  while (::read(socket.get(), &byte, 1) == 1 && ::write(socket.get(), &byte, 1) == 1) {
  }
}

bool PingPong(FdView socket) {
  char byte = 0;
  return ::write(socket.get(), &byte, 1) == 1 && ::read(socket.get(), &byte, 1) == 1;
}

}  // namespace vfio_user
