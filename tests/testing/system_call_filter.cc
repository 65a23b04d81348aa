#include "tests/testing/system_call_filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <future>
#include <span>
#include <thread>

#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {
namespace {

// Less than 0 on failure; what it returns else depends on `flags`.
long Install(std::span<sock_filter> filter, unsigned long flags) {
  const sock_fprog program = {.len = static_cast<unsigned short>(filter.size()),
                              .filter = filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

// Has the kernel do `action` for each call of `number` of this thread.
long Install(uint32_t number, uint32_t action, unsigned long flags) {
  std::array<sock_filter, 4> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  return Install(filter, flags);
}

// Answers the calls that `calls` tells of until `done` is signalled, and counts them.
int FailTheFirst(const UniqueFd& calls, const UniqueFd& done, int error) {
  for (int count = 0;; ++count) {
    std::array<pollfd, 2> entries = {{{.fd = calls.get(), .events = POLLIN, .revents = 0},
                                      {.fd = done.get(), .events = POLLIN, .revents = 0}}};
    (void)::poll(entries.data(), entries.size(), -1);
    if ((entries[0].revents & POLLIN) == 0) return count;
    seccomp_notif call = {};
    if (::ioctl(calls.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return count;
    seccomp_notif_resp answer = {.id = call.id, .val = 0, .error = 0, .flags = 0};
    if (count == 0) {
      answer.error = -error;
    } else {
      answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    }
    (void)::ioctl(calls.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

}  // namespace

bool RefuseSystemCall(uint32_t number, uint16_t error) {
  return Install(number, SECCOMP_RET_ERRNO | error, 0) >= 0;
}

bool RefuseFcntl(uint32_t command, uint16_t error) {
  std::array<sock_filter, 6> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3),
      // The low half of the second argument, on the little-endian machines that this runs on.
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + sizeof(uint64_t)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, command, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  return Install(filter, 0) >= 0;
}

int RunWithOneFailure(uint32_t number, int error, const std::function<void()>& body) {
  const UniqueFd done(::eventfd(0, EFD_CLOEXEC));
  std::promise<int> installed;
  std::thread thread([&] {
    const long calls = Install(number, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    installed.set_value(static_cast<int>(calls));
    if (calls >= 0) body();
    (void)::eventfd_write(done.get(), 1);
  });
  const UniqueFd calls(installed.get_future().get());
  const int count = calls.valid() ? FailTheFirst(calls, done, error) : -1;
  thread.join();
  return count;
}

}  // namespace vfio_user
