// An eventfd that a client lent, to be told of interrupts.
#ifndef SERVER_EVENT_FD_H_
#define SERVER_EVENT_FD_H_

#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// Thread-safe.
class EventFd {
 public:
  // Takes `fd`. InvalidArgument unless it is an eventfd: a write to anything else would put bytes
  // into a file, or wait for whoever is to read them. Needs /proc.
  static absl::StatusOr<EventFd> Adopt(UniqueFd fd);

  // Adds one to the counter. Nothing when it is at its maximum: whoever reads it has been told.
  //
  // Does not block on the counter that it finds, but where the client made the eventfd blocking, it
  // can race to fill the counter after it was looked at. Release() ends that.
  void Signal() const;

  // Empties the counter, so that a Signal that blocks does not any more. Never blocks.
  void Release() const;

 private:
  EventFd(UniqueFd fd, bool nonblocking) : fd_(std::move(fd)), nonblocking_(nonblocking) {}

  UniqueFd fd_;
  // As it was made. It is not made so here: the flag is the client's too, whose own blocking reads
  // would begin to fail.
  bool nonblocking_;
};

}  // namespace vfio_user

#endif  // SERVER_EVENT_FD_H_
