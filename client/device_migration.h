// A device's state, taken out of one server and put into another.
#ifndef CLIENT_DEVICE_MIGRATION_H_
#define CLIENT_DEVICE_MIGRATION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/device_features.h"
#include "proto_defs/wire/device_feature.h"

namespace vfio_user {

class Session;

// The state is bytes that only this kind of device understands. What the client has (mappings,
// bound interrupts) is not in it. Which state may follow which is the server's to say. Keeps the
// connection alive. A value type; thread-safe, but two of Save and Load at once get in each other's
// way.
class DeviceMigration {
 public:
  MigrationFlags flags() const { return flags_; }

  absl::StatusOr<MigState> state() const;
  // By the way that the server finds. InvalidArgument where there is none. On any error the device
  // may be on that way still, or in MigState::kError, which Client::Reset() ends.
  absl::Status SetState(MigState state) const;

  // About how many bytes of the state are to be read still, from a sink of Save() too. Not every
  // server tells, and perhaps not in every state: InvalidArgument then.
  absl::StatusOr<uint64_t> BytesLeft() const;

  // Given each piece of the state, in order, as it comes; an error ends the save.
  using Sink = std::function<absl::Status(std::span<const std::byte> piece)>;
  // Fills its argument as far as there is state left, and says how far: 0 is the end.
  using Source = std::function<absl::StatusOr<size_t>(std::span<std::byte> into)>;

  // Stops the device, gives its whole state to `sink`, and leaves the device in `then`: kRunning,
  // or kStop for a device that goes on elsewhere. The number of bytes. On an error the device goes
  // back to the state that it had; the message says where it is. It is reset only from
  // MigState::kError: what it has is otherwise still whole. A device that takes longer to stop than
  // ClientOptions::reply_timeout is left on its way; SetState() brings it back later.
  absl::StatusOr<uint64_t> Save(const Sink& sink, MigState then = MigState::kRunning) const;

  // Stops the device, gives it all that `source` has for its state, and leaves it in `then`, as
  // above. The number of bytes. InvalidArgument: the device does not take that for its state. On an
  // error before the first byte it goes back, as above, but a server may drop what the device had
  // as soon as it is to be loaded. On an error after that its own state is lost, and perhaps
  // overwritten in part: it is reset. The message says which.
  absl::StatusOr<uint64_t> Load(const Source& source, MigState then = MigState::kRunning) const;

 private:
  friend class Client;
  DeviceMigration(std::shared_ptr<Session> session, DeviceFeatures features, MigrationFlags flags)
      : session_(std::move(session)), features_(std::move(features)), flags_(flags) {}

  static absl::StatusOr<DeviceMigration> Open(std::shared_ptr<Session> session);

  // The state to return to. FailedPrecondition where a save or load cannot begin.
  absl::StatusOr<MigState> StateBefore() const;
  absl::StatusOr<uint64_t> Drain(const Sink& sink) const;
  // What the server was sent, also in a request that it refused or did not answer: it may have
  // taken in some of that.
  struct Written {
    uint64_t bytes = 0;
    absl::Status status;
  };
  Written Fill(const Source& source) const;

  // Each returns `error` with what came of it. To `before`, with the state that the device has.
  absl::Status GoBack(MigState before, const absl::Status& error) const;
  absl::Status ResetFromError(MigState before, const absl::Status& error) const;
  // To `before` without one: it has part of another.
  absl::Status Discard(MigState before, const absl::Status& error) const;

  std::shared_ptr<Session> session_;
  DeviceFeatures features_;
  MigrationFlags flags_;
};

}  // namespace vfio_user

#endif  // CLIENT_DEVICE_MIGRATION_H_
