// An interrupt of the device, as an eventfd.
#ifndef CLIENT_INTERRUPT_H_
#define CLIENT_INTERRUPT_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"

namespace vfio_user {

class Session;

// One vector, bound for as long as this lives, or until it is bound anew: the later Interrupt then
// has it, and the earlier one gets no more signals. Movable. Thread-safe, but for moving; each
// interrupt is seen by one waiter.
class Interrupt {
 public:
  Interrupt(Interrupt&& other) noexcept = default;
  Interrupt& operator=(Interrupt&& other) noexcept;
  // Unbinds the vector, unless it was bound anew. Afterwards the device does not signal the
  // eventfd, also where the application has another descriptor of it. One round trip, or two where
  // the server may be a libvfio-user.
  ~Interrupt();

  // Waits for the device to signal. The number of times that it did since the last Wait, at least
  // 1: signals add up. DeadlineExceeded when there was none. Does not notice a lost connection:
  // give a timeout.
  absl::StatusOr<uint64_t> Wait(absl::Duration timeout);

  // Masks and unmasks the vector, one round trip each: see InterruptType.
  //
  // INTx is a level that masks itself when it is signalled: Unmask() after the device was served.
  // While the line is up still, that signals again; without it there is never another signal.
  absl::Status Mask() const;
  absl::Status Unmask() const;

  // Readable when the interrupt is pending, for poll() and epoll; Wait(absl::ZeroDuration()) then
  // takes it. Borrowed.
  int fd() const { return eventfd_.get(); }

  IrqIndex index() const { return binding_.index; }
  uint32_t vector() const { return binding_.vector; }

 private:
  friend class InterruptType;
  struct Binding {
    IrqIndex index{};
    uint32_t vector = 0;
    uint64_t number = 0;  // See Session::BindIrqs.
  };
  Interrupt(std::shared_ptr<Session> session, UniqueFd eventfd, const Binding& binding)
      : session_(std::move(session)), eventfd_(std::move(eventfd)), binding_(binding) {}

  void Unbind();
  absl::Status Act(IrqAction action) const;

  // Null when moved from.
  std::shared_ptr<Session> session_;
  UniqueFd eventfd_;
  Binding binding_;
};

}  // namespace vfio_user

#endif  // CLIENT_INTERRUPT_H_
