// A device's interrupts: which of them the client has bound, and to what.
#ifndef SERVER_INTERRUPT_TABLE_H_
#define SERVER_INTERRUPT_TABLE_H_

#include <array>
#include <cstdint>
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
#include "server/event_fd.h"

namespace vfio_user {

// Each type has vectors of its own. A vector that is masked remembers that it was triggered, and
// signals when it is unmasked. Thread-safe.
class InterruptTable {
 public:
  explicit InterruptTable(std::span<const IrqDescription> types);

  // What GET_IRQ_INFO answers; a count of 0 for a type that the device lacks. InvalidArgument for
  // an index that is no PCI device's.
  absl::StatusOr<IrqInfo> Info(IrqIndex index) const;

  // Does what SET_IRQS asks, all of it or, on an error, nothing; but for the triggering: returns
  // the vectors that the caller is to Trigger. InvalidArgument (EINVAL) for an index or vectors
  // that the device lacks, masks for a type without, descriptors where none belong, another number
  // of them than of vectors, and one that is no eventfd; Unimplemented (ENOTSUP) for masking
  // through an eventfd.
  absl::StatusOr<std::vector<uint32_t>> Apply(const SetIrqsRequest& request,
                                              std::vector<UniqueFd> fds);

  // Signals a vector. Nothing for one that is not bound, or not there.
  void Trigger(IrqIndex index, uint32_t vector);

  // kMsix or kMsi where a vector of these is bound, else kIntx.
  IrqIndex enabled() const;

  // Unbinds and unmasks everything, because the client is gone. No Trigger is signalling any more
  // when this returns, even if the client saw to it that it would block (see EventFd::Signal).
  void DropAll();

 private:
  using Target = std::shared_ptr<const EventFd>;

  struct Vector {
    Target target;
    bool masked = false;
    bool pending = false;
  };
  struct Type {
    IrqInfoFlags flags;
    std::vector<Vector> vectors;
  };

  // The vectors that `request` speaks of, checked against the device.
  absl::StatusOr<std::span<Vector>> Select(const SetIrqsRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  std::array<Type, kPciIrqCount> types_ ABSL_GUARDED_BY(mu_);
  // Those that are being signalled now.
  std::vector<Target> signalling_ ABSL_GUARDED_BY(mu_);
  CondVar signalled_;
};

}  // namespace vfio_user

#endif  // SERVER_INTERRUPT_TABLE_H_
