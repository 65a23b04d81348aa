#include "server/events/thread.h"

#include <signal.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {
namespace {

// Enough for any device that keeps its buffers off the stack, and too little for a huge page.
constexpr size_t kStackBytes = 512 << 10;

// What an application waits for is its own; what an instruction of this thread raises cannot be
// left to others.
sigset_t SignalsOfTheApplication() {
  sigset_t signals;
  sigfillset(&signals);
  for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP}) {
    sigdelset(&signals, fault);
  }
  return signals;
}

void* RunBody(void* argument) {
  const std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(argument));
  (*body)();
  return nullptr;
}

}  // namespace

absl::StatusOr<Thread> Thread::Start(const char* name, std::function<void()> body) {
  auto argument = std::make_unique<std::function<void()>>(std::move(body));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);

  // A new thread inherits the mask, so that there is no moment in which it could take a signal.
  const sigset_t blocked = SignalsOfTheApplication();
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  pthread_t handle;
  const int error = pthread_create(&handle, &attributes, &RunBody, argument.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);

  if (error == EAGAIN) {
    return absl::ResourceExhaustedError("no thread is left to be had; see ulimit -u");
  }
  if (error != 0) return ErrnoStatus(error, "pthread_create");
  (void)argument.release();
  pthread_setname_np(handle, name);
  return Thread(handle);
}

Thread::Thread(Thread&& other) noexcept : handle_(std::exchange(other.handle_, std::nullopt)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  Join();
  handle_ = std::exchange(other.handle_, std::nullopt);
  return *this;
}

void Thread::Join() {
  if (handle_.has_value()) pthread_join(*handle_, nullptr);
  handle_.reset();
}

}  // namespace vfio_user
