// The thread that takes clients in, for all sockets of a server.
#ifndef SERVER_ACCEPTOR_H_
#define SERVER_ACCEPTOR_H_

#include <poll.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/listener.h"
#include "proto_defs/transport/unique_fd.h"
#include "server/events/thread.h"
#include "server/seat.h"
#include "server/waiting_line.h"

namespace vfio_user {

// Thread-safe. Waits for clients, for those that stand in line, and for seats to become vacant; it
// never waits for one of them alone.
class Acceptor {
 public:
  // `patience` is how long a client may take to send the VERSION by which it learns that its place
  // is taken. ResourceExhausted where no thread or descriptor is to be had.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Create(absl::Duration patience);
  ~Acceptor() { Stop(); }

  // Seats the clients that come to `listener`. FailedPrecondition once stopped.
  absl::Status Add(std::unique_ptr<Seat> seat, Listener listener);
  // Drops the seat when its client has left. FailedPrecondition once stopped.
  absl::Status Add(std::unique_ptr<Seat> seat);

  // To be called when a seat has become vacant.
  void Wake() const;

  // Disconnects all clients and waits for them to be gone; removes the sockets' files. May be
  // repeated, and then waits for the first one.
  void Stop();

 private:
  struct Place {
    std::unique_ptr<Seat> seat;
    std::optional<Listener> listener;  // None for the seat of an adopted client.
  };

  Acceptor(UniqueFd wake, absl::Duration patience) : wake_(std::move(wake)), line_(patience) {}

  absl::Status AddPlace(std::unique_ptr<Place> place);
  void Run();
  std::vector<pollfd> PollEntries() ABSL_LOCKS_EXCLUDED(mu_);
  // What was waited for has come, or the time is over. False once stopped.
  bool Tend() ABSL_LOCKS_EXCLUDED(mu_);
  void AcceptAll(Place& place);

  const UniqueFd wake_;
  Thread thread_;

  // The thread's.
  WaitingLine line_;
  // While no descriptor is left, clients stay in the kernel's queues.
  Deadline accept_again_ = Deadline::Never();
  bool out_of_descriptors_ = false;  // Said so once, and not for each try.

  Mutex stop_mu_;  // Held by the one that stops. Before mu_.
  Mutex mu_;       // Before a Seat's.
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::unique_ptr<Place>> places_ ABSL_GUARDED_BY(mu_);
};

}  // namespace vfio_user

#endif  // SERVER_ACCEPTOR_H_
