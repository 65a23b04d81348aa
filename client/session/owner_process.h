// Which process an object belongs to. After fork() the child has a copy of everything, and none of
// the threads.
#ifndef CLIENT_SESSION_OWNER_PROCESS_H_
#define CLIENT_SESSION_OWNER_PROCESS_H_

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <memory>

#include "absl/status/status.h"

namespace vfio_user {

// Remembers the process it was made in. A value type.
//
// Asked before each access, to mapped registers too, where getpid() would cost a hundred times what
// the access does: so there is a page that the kernel empties in every forked child, and in it the
// id of the process that it has not been emptied for.
class OwnerProcess {
 public:
  OwnerProcess();

  bool IsThisProcess() const {
    return (mark_ != nullptr ? mark_->load(std::memory_order_relaxed) : ::getpid()) == pid_;
  }

  // FailedPrecondition in a process that was forked from it.
  absl::Status Check() const {
    if (IsThisProcess()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "this connection belongs to the process that this one was forked from, whose memory the "
        "device was lent: connect anew after fork()");
  }

 private:
  pid_t pid_;
  const std::atomic<pid_t>* mark_ = nullptr;  // nullptr where the kernel has no such page.
};

// Shares `object` such that only the process that called this destroys it. A forked child leaves
// its copy as it is: to destroy it could wait for ever, for threads that the child does not have,
// and the descriptors in it may have been closed and their numbers given to others.
template <typename T>
std::shared_ptr<T> ShareInThisProcess(std::unique_ptr<T> object) {
  return std::shared_ptr<T>(object.release(), [owner = OwnerProcess()](T* pointer) {
    if (owner.IsThisProcess()) delete pointer;
  });
}

}  // namespace vfio_user

#endif  // CLIENT_SESSION_OWNER_PROCESS_H_
