// All vectors of one kind of interrupt: INTx, MSI, MSI-X, ERR or REQ.
#ifndef CLIENT_INTERRUPT_TYPE_H_
#define CLIENT_INTERRUPT_TYPE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/interrupt.h"
#include "client/interrupt_switch.h"
#include "proto_defs/wire/irq.h"

namespace vfio_user {

class Session;

// Vectors are numbered from 0. Copyable, and keeps the connection alive. Thread-safe; but a vector
// that two threads bind at a time is either one's. Each call is one round trip, unless it says
// otherwise. Errors: NotFound for a vector that the device does not have, and what the server
// refused with: InvalidArgument above all, as libvfio-user for anything but triggers of ERR and REQ
// and as any server for masking what info().flags does not call maskable.
class InterruptType {
 public:
  const IrqInfo& info() const { return info_; }

  absl::StatusOr<Interrupt> Bind(uint32_t vector) const;
  // Binds `count` vectors from `first` on, in as many messages as the descriptors ask for that the
  // server takes in one. On error none of them is bound.
  absl::StatusOr<std::vector<Interrupt>> Bind(uint32_t first, uint32_t count) const;

  // Unbinds all vectors, at once: the Interrupts that there are get no more signals.
  absl::Status Disable() const;

  // A masked vector is not signalled. What comes meanwhile is remembered, and signalled once when
  // the vector is unmasked.
  absl::Status Mask(uint32_t first, uint32_t count) const;
  absl::Status Unmask(uint32_t first, uint32_t count) const;
  // Has the server signal the vectors as if the device had. Those that are not bound are left out,
  // or refused, as the server sees it.
  absl::Status Trigger(uint32_t first, uint32_t count) const;

  // The same for vectors that are not in a row, each named once or more. Not with rust-vmm's
  // server, which takes only rows.
  absl::Status Mask(std::span<const uint32_t> vectors) const;
  absl::Status Unmask(std::span<const uint32_t> vectors) const;
  absl::Status Trigger(std::span<const uint32_t> vectors) const;

  // An eventfd that masks, or unmasks, the vector when it is signalled, by whoever does that.
  // libvfio-user agrees and then does not look at it.
  absl::StatusOr<InterruptSwitch> BindMaskSwitch(uint32_t vector) const;
  absl::StatusOr<InterruptSwitch> BindUnmaskSwitch(uint32_t vector) const;

 private:
  friend class Client;
  InterruptType(std::shared_ptr<Session> session, const IrqInfo& info);

  absl::Status CheckVectors(uint32_t first, uint32_t count) const;
  absl::Status BindRun(uint32_t first, uint32_t count, std::vector<Interrupt>& bound) const;
  absl::Status Act(IrqAction action, uint32_t first, uint32_t count) const;
  absl::Status Act(IrqAction action, std::span<const uint32_t> vectors) const;
  absl::StatusOr<InterruptSwitch> BindSwitch(IrqAction action, uint32_t vector) const;

  std::shared_ptr<Session> session_;
  IrqInfo info_;
};

}  // namespace vfio_user

#endif  // CLIENT_INTERRUPT_TYPE_H_
