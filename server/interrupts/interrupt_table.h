// A device's interrupts: which of them the client has bound, and to what, and what holds them back.
#ifndef SERVER_INTERRUPTS_INTERRUPT_TABLE_H_
#define SERVER_INTERRUPTS_INTERRUPT_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/irq.h"
#include "server/device.h"
#include "server/events/event_fd.h"
#include "server/interrupts/interrupt_types.h"

namespace vfio_user {

// Each type has vectors of its own. A vector is held back by three masks: the client's (SET_IRQS,
// and INTx by itself with each signal), the one of the vector in the device's registers, and the
// one of its type there. One that is triggered meanwhile is pending, and signalled when the last
// mask is gone; one that is not masked and not bound is lost. Thread-safe.
class InterruptTable {
 public:
  // `on_due` is called, with no lock of the table's held, when a change has made signals due; it
  // sees to it that SignalDue is called, and is not called again before that is.
  InterruptTable(std::span<const IrqDescription> types, std::function<void()> on_due);

  // What GET_IRQ_INFO answers; a count of 0 for a type that the device lacks. InvalidArgument for
  // an index that is no PCI device's.
  absl::StatusOr<IrqInfo> Info(IrqIndex index) const;

  // Whether SET_IRQS may ask this, with so many descriptors. InvalidArgument (EINVAL) for an index
  // or vectors that the device lacks, masks for a type without, descriptors where none belong, and
  // another number of them than of vectors.
  absl::Status Check(const SetIrqsRequest& request, size_t fds) const;

  // Does what SET_IRQS asks, all of it or, on an error, nothing. What it triggers or makes due is
  // for SignalDue. InvalidArgument for what Check refuses, and a descriptor that is no eventfd. Not
  // for masks through an eventfd: see MaskEvents.
  absl::Status Apply(const SetIrqsRequest& request, std::vector<UniqueFd> fds);

  // What the device does. Signals on the calling thread. Nothing for a vector that is not there.
  void Trigger(IrqIndex index, uint32_t vector);
  void SetLine(IntxLine line);
  IntxLine line() const;

  // What the device's registers say: of a type, and of its vectors from `first` on. All at once,
  // because what a change has made due is looked for among all vectors.
  void MaskType(IrqIndex index, Masking mask);
  void MaskVectors(IrqIndex index, uint32_t first, std::span<const Masking> masks);

  // 64 vectors from `first` on, a bit each: whether it is pending.
  uint64_t Pending(IrqIndex index, uint32_t first) const;

  // The device has got another state, in which those vectors of the type are pending whose bit in
  // `bits` is set, and no others. What held them back may have been the masks of a client that is
  // not there any more; one that nothing holds back and that is not bound waits to be.
  void RestorePending(IrqIndex index, std::span<const std::byte> bits);

  // Whether a vector of the type is bound.
  bool bound(IrqIndex index) const;

  // Signals what is due, on the calling thread, which it may block for as long as the client wants
  // (see EventFd::Signal).
  void SignalDue();

  // The device was reset: the line is down, nothing is pending, and its registers mask nothing.
  void Reset();

  // Unbinds everything and takes back the client's masks, because it is gone. No Trigger is
  // signalling any more when this returns, even if the client saw to it that it would block.
  void DropAll();

 private:
  using Target = std::shared_ptr<const EventFd>;

  enum class PendingState {
    kNo,
    kTriggered,  // Lost when no mask holds it back and it is not bound.
    kRestored,   // Not lost, however long nobody binds it.
  };
  struct Vector {
    Target target;
    Masking by_client = Masking::kUnmasked;
    Masking by_device = Masking::kUnmasked;
    PendingState pending = PendingState::kNo;
  };
  struct Type {
    IrqInfoFlags flags;
    Masking mask = Masking::kUnmasked;
    std::vector<Vector> vectors;
  };

  // Makes `change` with the lock, and, where it returns true, announces what has become due.
  template <typename Change>
  void MakeChange(Change change) ABSL_LOCKS_EXCLUDED(mu_);
  static void ForgetClient(Vector& vector);
  static void ApplyToVector(Vector& vector, IrqAction action);
  static void MakePending(Vector& vector);
  // What is wanted of a vector that is not bound is lost, unless it waits for that.
  static void LoseUnbound(Vector& vector);
  bool Wanted(const Type& type, const Vector& vector) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Loses what is wanted and not bound.
  bool AnyDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What `vector` is to signal now: it counts as signalled. nullptr if nothing.
  Target TakeDue(Type& type, Vector& vector) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of a `target` that is among those that are being signalled.
  void Signal(const Target& target) ABSL_LOCKS_EXCLUDED(mu_);
  // Changes a vector, if it is there, and signals what that has made due.
  template <typename Change>
  void ChangeAndSignal(IrqIndex index, uint32_t vector, Change change) ABSL_LOCKS_EXCLUDED(mu_);

  const std::function<void()> on_due_;

  mutable Mutex mu_;
  std::array<Type, kPciIrqCount> types_ ABSL_GUARDED_BY(mu_);
  IntxLine line_ ABSL_GUARDED_BY(mu_) = IntxLine::kDown;
  bool announced_ ABSL_GUARDED_BY(mu_) = false;
  // Those that are being signalled now.
  std::vector<Target> signalling_ ABSL_GUARDED_BY(mu_);
  CondVar signalled_;
};

}  // namespace vfio_user

#endif  // SERVER_INTERRUPTS_INTERRUPT_TABLE_H_
