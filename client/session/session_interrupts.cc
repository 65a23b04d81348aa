// Which eventfd each vector has at the server, and who of the client's it belongs to.
#include <sys/eventfd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

// The reply has no body. Bytes that come all the same mean nothing to us.
absl::Status Session::SetIrqs(const SetIrqsRequest& request, std::span<const FdView> fds) {
  const std::vector<uint8_t> body = Serialize(request);
  PendingCall call;
  return Call(Command::kDeviceSetIrqs, {.body = body, .payload = {}, .fds = fds}, call);
}

absl::StatusOr<uint64_t> Session::BindIrqs(const SetIrqsRequest& run,
                                           std::span<const FdView> eventfds) {
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  VFIO_USER_RETURN_IF_ERROR(TakeBindingTurn(run.index));
  const absl::Cleanup give_back = [this] { binding_turn_.GiveBack(); };
  VFIO_USER_RETURN_IF_ERROR(SetIrqs(run, eventfds));
  MutexLock lock(mu_);
  const uint64_t first = next_binding_;
  next_binding_ += run.count;
  for (uint32_t i = 0; i < run.count; ++i) {
    bindings_[{run.action, run.index, run.start + i}] = first + i;
  }
  return first;
}

absl::Status Session::DisableIrqs(IrqIndex index) {
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  VFIO_USER_RETURN_IF_ERROR(TakeBindingTurn(index));
  const absl::Cleanup give_back = [this] { binding_turn_.GiveBack(); };
  VFIO_USER_RETURN_IF_ERROR(SetIrqs({.data = IrqData::kNone,
                                     .action = IrqAction::kTrigger,
                                     .index = index,
                                     .start = 0,
                                     .count = 0},
                                    {}));
  MutexLock lock(mu_);
  absl::erase_if(bindings_, [index](const auto& entry) {
    return entry.first.action == IrqAction::kTrigger && entry.first.index == index;
  });
  return absl::OkStatus();
}

void Session::UnbindIrq(const IrqSlot& slot, uint64_t binding) {
  // In a forked child nothing is even looked into: a lock may be held for ever.
  if (!CheckProcess().ok() || !binding_turn_.Take(Deadline::Never())) return;
  const absl::Cleanup give_back = [this] { binding_turn_.GiveBack(); };
  {
    MutexLock lock(mu_);
    const auto last = bindings_.find(slot);
    if (last == bindings_.end() || last->second != binding) return;
    bindings_.erase(last);
  }
  const SetIrqsRequest request = {.data = IrqData::kEventfd,
                                  .action = slot.action,
                                  .index = slot.index,
                                  .start = slot.vector,
                                  .count = 1};
  if (slot.action == IrqAction::kTrigger && slot.vector > 0 && may_be_libvfio_user()) {
    // libvfio-user says OK to unbinding any vector but the first, and goes on signalling it. So it
    // gets an eventfd instead that nobody reads: ours to forget, and not one that fills and blocks.
    const UniqueFd nobodys(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const FdView fd = nobodys;
    if (nobodys.valid()) (void)SetIrqs(request, {&fd, 1});
  }
  (void)SetIrqs(request, {});
}

absl::Status Session::TakeBindingTurn(IrqIndex index) {
  if (binding_turn_.Take(Deadline::In(options_.reply_timeout))) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("{}: not bound, other threads' bindings took all the time", index));
}

}  // namespace vfio_user
