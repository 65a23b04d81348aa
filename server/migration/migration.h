// The migration of one device: its state machine, and the state that moves.
#ifndef SERVER_MIGRATION_MIGRATION_H_
#define SERVER_MIGRATION_MIGRATION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/wire/device_feature.h"
#include "server/device.h"
#include "server/events/work_queue.h"
#include "server/migration/saved_state.h"

namespace vfio_user {

// What the server keeps of a device for it, as it moves with the device. On the worker thread.
class ServerKeptState {
 public:
  virtual ~ServerKeptState() = default;

  // Fills in config and interrupts.
  virtual void SaveInto(SavedState& state) = 0;
  // InvalidArgument for what cannot be this device's.
  virtual absl::Status Check(const SavedState& state) const = 0;
  // Of what Check has passed, once the device has taken its own part of it.
  virtual void RestoreFrom(const SavedState& state) = 0;
};

// What a client asks comes on the protocol thread; what takes time is done on the worker, after
// what the device has begun. Thread-safe.
class Migration {
 public:
  // Of all that a client may write in one go. Above it a client would be naming how much of the
  // server's memory it takes.
  static constexpr size_t kMostStateBytes = 64 << 20;

  // All borrowed.
  Migration(Device& device, ServerKeptState& kept, WorkQueue& work)
      : device_(device), kept_(kept), work_(work) {}
  Migration(const Migration&) = delete;
  Migration& operator=(const Migration&) = delete;

  // Whether the device can move at all. All below is for one that can.
  bool supported() const { return device_.migratable() != nullptr; }

  MigState state() const;

  // Goes from the present state to `to` along MigrationPath, and calls `done` on the worker when
  // the device has arrived: it is at rest in STOP and behind. An error that is given to `done` left
  // it in the last state that it reached, or in ERROR where the state that was written is not one
  // of this device. An error that is returned left everything as it was, and `done` is not called:
  // EBUSY while another change or a reset is under way, and what MigrationPath refuses.
  absl::Status SetState(MigState to, std::function<void(const absl::Status&)> done);

  // The next bytes of the state, at most `most_bytes`; fewer are the last ones. In PRE_COPY there
  // are none: a device is read when it is at rest. InvalidArgument (EINVAL) in other states than
  // that and STOP_COPY, EBUSY while a change is under way.
  absl::StatusOr<std::vector<uint8_t>> Read(size_t most_bytes);

  // Bytes of the state that Read has not given yet. InvalidArgument (EINVAL) in other states than
  // STOP_COPY, because a device that runs changes what is to be saved; EBUSY as for Read.
  absl::StatusOr<uint64_t> BytesLeft() const;

  // Takes the next bytes of a state; RESUMING is left with all of them, or with none, which leaves
  // the device as it is. InvalidArgument (EINVAL) in other states, ResourceExhausted (ENOSPC) for
  // more than kMostStateBytes, EBUSY while a change is under way.
  absl::Status Write(std::span<const uint8_t> bytes);

  // A reset was asked for (protocol thread), and is done (worker thread): the device runs then,
  // whatever it did before, and what was read or written of a state is dropped.
  void ResetBegins();
  void ResetEnds();

  // The client is gone: the same, but without a reset. The worker must be idle; it may have work
  // afterwards.
  void ClientGone();

 private:
  // The worker's.
  absl::Status Walk(const std::vector<MigState>& path);
  absl::Status Step(MigState from, MigState to);
  absl::Status Save();
  absl::Status Restore();
  void RunAgain();

  absl::Status CheckIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Device& device_;
  ServerKeptState& kept_;
  WorkQueue& work_;

  mutable Mutex mu_;
  MigState state_ ABSL_GUARDED_BY(mu_) = MigState::kRunning;
  // Changes of state and resets that the worker has not done yet.
  int under_way_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<uint8_t> outgoing_ ABSL_GUARDED_BY(mu_);  // In STOP_COPY.
  size_t outgoing_read_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<uint8_t> incoming_ ABSL_GUARDED_BY(mu_);  // In RESUMING.
};

}  // namespace vfio_user

#endif  // SERVER_MIGRATION_MIGRATION_H_
