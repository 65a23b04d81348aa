// An eventfd: a client's, to be told of interrupts, or ours, for it to signal.
#ifndef SERVER_EVENTS_EVENT_FD_H_
#define SERVER_EVENTS_EVENT_FD_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// Thread-safe.
class EventFd {
 public:
  // Takes `fd`. InvalidArgument unless it is an eventfd: a write to anything else would put bytes
  // into a file, or wait for whoever is to read them. Needs /proc.
  static absl::StatusOr<EventFd> Adopt(UniqueFd fd);

  // A new one, that does not block. ResourceExhausted where no descriptor is to be had.
  static absl::StatusOr<EventFd> Create();

  // The kernel's number of the eventfd, the same for all descriptors of it; nullopt before Linux
  // 5.2. Needs /proc.
  std::optional<uint64_t> id() const;

  // To be passed on, or waited for.
  const UniqueFd& fd() const { return fd_; }

  // Adds one to the counter. Nothing when it is at its maximum: whoever reads it has been told.
  //
  // Does not block on the counter that it finds, but where the client made the eventfd blocking, it
  // can race to fill the counter after it was looked at. Take() ends that.
  void Signal() const;

  // Empties the counter and returns what it was: 0 where it was empty. Never blocks.
  uint64_t Take() const;

 private:
  EventFd(UniqueFd fd, bool nonblocking) : fd_(std::move(fd)), nonblocking_(nonblocking) {}

  UniqueFd fd_;
  // As it was made. It is not made so here: the flag is the client's too, whose own blocking reads
  // would begin to fail.
  bool nonblocking_;
};

}  // namespace vfio_user

#endif  // SERVER_EVENTS_EVENT_FD_H_
