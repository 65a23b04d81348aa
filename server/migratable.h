// A device whose state can be taken out of one process and put into another.
#ifndef SERVER_MIGRATABLE_H_
#define SERVER_MIGRATABLE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace vfio_user {

// What the server asks of a device for migration. The server keeps the migration state machine, and
// saves and restores config space and interrupts itself; the device has only its own registers and
// memory to speak of.
class Migratable {
 public:
  virtual ~Migratable() = default;

  // Come to rest. Runs on the protocol thread and does not wait: work that runs finishes what it
  // has begun (one descriptor, not a ring) and ends. Until Resume() nothing is to be posted and no
  // interrupt sent; register accesses and doorbells still come, and what they start is kept for
  // Resume(). A reset does not end the pause.
  virtual void Pause() = 0;
  // Go on from where Pause() found it, or from what Restore() brought. On the worker thread, so
  // that it comes after Restore().
  virtual void Resume() = 0;

  // The state, in a form of the device's own that says its version. On the worker thread, paused.
  virtual absl::StatusOr<std::vector<std::byte>> Save() = 0;
  // Puts the device into a state that Save() gave, in this process or another. InvalidArgument for
  // bytes that cannot be one: they come from a client. On error, no change. Worker thread, paused;
  // the server puts config space and interrupts back after it.
  virtual absl::Status Restore(std::span<const std::byte> state) = 0;
};

}  // namespace vfio_user

#endif  // SERVER_MIGRATABLE_H_
