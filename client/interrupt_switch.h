// An eventfd that masks or unmasks an interrupt of the device.
#ifndef CLIENT_INTERRUPT_SWITCH_H_
#define CLIENT_INTERRUPT_SWITCH_H_

#include <memory>

#include "absl/status/status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/irq.h"

namespace vfio_user {

class Session;

// Works for as long as it lives, or until another switch of the same kind is bound to the vector.
// Nobody waits for anybody: the vector is masked, or not, a while after the eventfd was signalled.
// Movable. Thread-safe, but for moving.
class InterruptSwitch {
 public:
  InterruptSwitch(InterruptSwitch&& other) noexcept = default;
  InterruptSwitch& operator=(InterruptSwitch&& other) noexcept;
  // Takes the switch back from the server, which is one round trip.
  ~InterruptSwitch();

  // Masks or unmasks the vector.
  absl::Status Signal() const;

  // To give to whoever is to do that in our place: a kernel, another process. Borrowed.
  int fd() const { return eventfd_.get(); }

 private:
  friend class InterruptType;
  struct Binding {
    IrqAction action{};
    IrqIndex index{};
    uint32_t vector = 0;
    uint64_t number = 0;  // See Session::BindIrqs.
  };
  InterruptSwitch(std::shared_ptr<Session> session, UniqueFd eventfd, const Binding& binding)
      : session_(std::move(session)), eventfd_(std::move(eventfd)), binding_(binding) {}

  void Unbind();

  // Null when moved from.
  std::shared_ptr<Session> session_;
  UniqueFd eventfd_;
  Binding binding_;
};

}  // namespace vfio_user

#endif  // CLIENT_INTERRUPT_SWITCH_H_
