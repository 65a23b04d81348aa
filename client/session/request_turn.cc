#include "client/session/request_turn.h"

namespace vfio_user {

bool RequestTurn::Take(Deadline deadline) {
  MutexLock lock(mu_);
  while (taken_) {
    if (deadline.passed()) return false;
    if (deadline.never()) {
      free_.Wait(mu_);
    } else {
      free_.WaitUntil(mu_, deadline.time_point());
    }
  }
  taken_ = true;
  return true;
}

void RequestTurn::GiveBack() {
  MutexLock lock(mu_);
  taken_ = false;
  free_.NotifyOne();
}

}  // namespace vfio_user
