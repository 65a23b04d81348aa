// A point in time by which something must have happened.
#ifndef PROTO_DEFS_TRANSPORT_DEADLINE_H_
#define PROTO_DEFS_TRANSPORT_DEADLINE_H_

#include <sys/time.h>

#include <chrono>

#include "absl/time/time.h"

namespace vfio_user {

// Measured on the steady clock, which a change of the system's time does not move. A value type.
class Deadline {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // `timeout` from now; never, for absl::InfiniteDuration() and anything beyond a century.
  static Deadline In(absl::Duration timeout);
  static Deadline Never() { return Deadline(TimePoint::max()); }
  // Has passed, which needs no look at the clock.
  static Deadline Past() { return Deadline(TimePoint::min()); }

  bool never() const { return at_ == TimePoint::max(); }
  bool past() const { return at_ == TimePoint::min(); }
  bool passed() const { return past() || (!never() && std::chrono::steady_clock::now() >= at_); }
  TimePoint time_point() const { return at_; }

  // 0 when passed, infinite for never.
  absl::Duration TimeLeft() const;

  // What poll() takes: milliseconds left, rounded up so that a wait is never cut short; 0 when
  // passed, -1 for never.
  int PollMilliseconds() const;

  // What SO_RCVTIMEO and SO_SNDTIMEO take: at least a microsecond, because 0 is their never.
  timeval SocketTimeout() const;

 private:
  explicit Deadline(TimePoint at) : at_(at) {}

  TimePoint at_;
};

inline Deadline Earlier(Deadline one, Deadline other) {
  return one.time_point() < other.time_point() ? one : other;
}

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_DEADLINE_H_
