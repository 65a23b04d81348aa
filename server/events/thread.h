// A thread with a small stack, that does not take the application's signals.
#ifndef SERVER_EVENTS_THREAD_H_
#define SERVER_EVENTS_THREAD_H_

#include <pthread.h>

#include <functional>
#include <optional>

#include "absl/status/statusor.h"

namespace vfio_user {

// Joins when it is destroyed. Thread-compatible.
//
// Why not std::thread: its stack is 8 MiB, of which the kernel may make 2 MiB resident at the first
// touch (transparent huge pages), and a server has two threads per socket; and where the system has
// no thread left, it throws.
class Thread {
 public:
  // `name` is what ps and debuggers show: at most 15 bytes. Signals sent to the process go to other
  // threads. ResourceExhausted when no thread is to be had.
  static absl::StatusOr<Thread> Start(const char* name, std::function<void()> body);

  Thread() = default;
  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread() { Join(); }

  // Waits until the body has returned. May be repeated.
  void Join();

 private:
  explicit Thread(pthread_t handle) : handle_(handle) {}

  std::optional<pthread_t> handle_;
};

}  // namespace vfio_user

#endif  // SERVER_EVENTS_THREAD_H_
