// One request at a time, for servers that cannot take more.
#ifndef CLIENT_SESSION_REQUEST_TURN_H_
#define CLIENT_SESSION_REQUEST_TURN_H_

#include "absl/base/thread_annotations.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/deadline.h"

namespace vfio_user {

// A turn that a thread has from before its request is sent until its reply is there. Not a lock:
// nothing is guarded by it, and commands of the server are served meanwhile. Thread-safe.
class RequestTurn {
 public:
  // False when `deadline` passed first.
  [[nodiscard]] bool Take(Deadline deadline) ABSL_LOCKS_EXCLUDED(mu_);
  void GiveBack() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Mutex mu_;
  CondVar free_;
  bool taken_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace vfio_user

#endif  // CLIENT_SESSION_REQUEST_TURN_H_
