#include "tests/testing/memory_lender.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>

#include "absl/time/time.h"
#include "proto_defs/transport/deadline.h"

namespace vfio_user {
namespace {

constexpr std::byte kExec{'x'};

// A Socket has set a bound to how long a read of it waits, which whoever has it now shares.
void WaitWithoutEnd(int control) {
  const timeval none = {};
  if (::setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)) != 0) std::abort();
}

// The child's part, over its end of the socket.
[[noreturn]] void Lend(int control) {
  const UniqueFd mem(::open("/proc/self/mem", O_RDWR | O_CLOEXEC));
  std::optional<Socket> socket = Socket::Adopt(UniqueFd(::dup(control))).value();
  std::array<std::byte, 1> byte = {};
  iovec part = {.iov_base = byte.data(), .iov_len = 1};
  const FdView fd = mem;
  if (!socket->Send({&part, 1}, {&fd, 1}, Deadline::Never(), absl::InfiniteDuration()).ok()) {
    std::_Exit(1);
  }
  WaitWithoutEnd(control);
  if (::read(control, byte.data(), 1) == 1 && byte[0] == kExec) {
    ::dup2(control, STDIN_FILENO);
    ::dup2(control, STDOUT_FILENO);
    ::execlp("cat", "cat", nullptr);
  }
  std::_Exit(0);
}

}  // namespace

MemoryLender::MemoryLender(const std::function<void()>& prepare) {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  control_ = UniqueFd(ends[0]);
  UniqueFd child_end(ends[1]);
  pid_ = ::fork();
  if (pid_ < 0) std::abort();
  if (pid_ == 0) {
    control_.Reset();
    if (prepare) prepare();
    Lend(child_end.get());
  }
  child_end.Reset();
  auto socket = Socket::Adopt(UniqueFd(::fcntl(control_.get(), F_DUPFD_CLOEXEC, 0)));
  std::array<uint8_t, 1> byte;
  auto received = socket.ok() ? socket->Receive(byte, Deadline::Never()) : socket.status();
  if (!received.ok() || received->fds.size() != 1) std::abort();
  mem_ = std::move(received->fds[0]);
  WaitWithoutEnd(control_.get());
}

MemoryLender::~MemoryLender() { Exit(); }

PeerCredentials MemoryLender::credentials() const {
  return {.pid = pid_, .uid = ::getuid(), .gid = ::getgid()};
}

void MemoryLender::Exit() {
  if (pid_ < 0) return;
  // Children that were forked since have the socket too.
  ::shutdown(control_.get(), SHUT_RDWR);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void MemoryLender::Exec() {
  // The second byte is for the other program, which sends back what it reads.
  const std::array<std::byte, 2> order = {kExec, std::byte{'?'}};
  std::byte echo;
  if (::write(control_.get(), order.data(), order.size()) != 2 ||
      ::read(control_.get(), &echo, 1) != 1) {
    std::abort();
  }
}

}  // namespace vfio_user
