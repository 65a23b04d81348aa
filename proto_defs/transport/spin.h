// Waiting without giving the processor away.
#ifndef PROTO_DEFS_TRANSPORT_SPIN_H_
#define PROTO_DEFS_TRANSPORT_SPIN_H_

#include "proto_defs/transport/deadline.h"

namespace vfio_user {

// For a loop that tries again and again before it blocks: `while (!Try() && spin.Again())`. To be
// woken costs more than a request and its reply do. Not for use under a lock.
class Spin {
 public:
  // Until Deadline::Past() it is no loop.
  explicit Spin(Deadline until) : until_(until), on_(!until.past()) {}

  // Whether it may still go on; says the same when it is asked again.
  bool on() const { return on_; }

  // Passes a moment, and now and then the processor to whoever else wants to run on it: that may be
  // who is waited for. False, at once, when the time is over.
  bool Again();

 private:
  const Deadline until_;
  bool on_;
  unsigned attempts_ = 0;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_SPIN_H_
