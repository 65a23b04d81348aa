// The one place at a device, and the thread that serves whoever has it.
#ifndef SERVER_SEAT_H_
#define SERVER_SEAT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "server/commands/negotiation.h"
#include "server/device.h"
#include "server/device_slot.h"
#include "server/event_log.h"
#include "server/events/thread.h"

namespace vfio_user {

// Thread-safe. Its protocol thread lives as long as it does, so that a client that comes needs
// nothing of the system that could be lacking.
class Seat {
 public:
  struct Options {
    DeviceSlot::Options device;
    NegotiationTerms terms;  // Its timeout is also that of a message that has begun.
    absl::Duration busy_poll = absl::ZeroDuration();  // As in ServerOptions.
    // Called on the protocol thread when a client has left and another can come. May be empty.
    std::function<void()> on_left;
  };

  // See DeviceSlot::Create for the errors.
  static absl::StatusOr<std::unique_ptr<Seat>> Create(std::unique_ptr<Device> device,
                                                      const Options& options, EventLog log);
  // Waits for the client to be gone, and for what the device does.
  ~Seat();

  enum class Answer {
    kSeated,  // The client is being served now.
    kWait,    // The client before it has closed its end, and will have left in a moment.
    kBusy,    // Another client is being served, or none is any more.
  };
  // Serves the client at the other end of `socket`; leaves the socket where it is unless it is
  // seated.
  Answer Offer(std::optional<Socket>& socket);

  // Whether no client is being served.
  bool vacant() const;

  // Disconnects the client and takes no other one. Does not wait.
  void Close();

  const EventLog& log() const { return log_; }

 private:
  Seat(std::unique_ptr<DeviceSlot> slot, const Options& options, EventLog log)
      : options_(options), log_(std::move(log)), slot_(std::move(slot)) {}

  void RunProtocolThread();
  void ServeClient(Socket socket) ABSL_LOCKS_EXCLUDED(mu_);
  // What became of a client, where it was not Close that ended its time.
  struct EndWords {
    std::string_view left;
    std::string_view lost;
  };
  void LogEnd(const absl::Status& end, const EndWords& words) const ABSL_LOCKS_EXCLUDED(mu_);
  // Before the client's socket is closed.
  void ForgetSocket() ABSL_LOCKS_EXCLUDED(mu_);

  const Options options_;
  const EventLog log_;
  const std::unique_ptr<DeviceSlot> slot_;

  mutable Mutex mu_;
  CondVar changed_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  bool taken_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<Socket> next_ ABSL_GUARDED_BY(mu_);
  // Of the client's socket, wherever that is now: for Close to end it, and Offer to look at.
  std::optional<FdView> socket_ ABSL_GUARDED_BY(mu_);

  Thread thread_;
};

}  // namespace vfio_user

#endif  // SERVER_SEAT_H_
