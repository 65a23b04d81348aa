#include "client/interrupt.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {

Interrupt& Interrupt::operator=(Interrupt&& other) noexcept {
  if (this == &other) return *this;
  Unbind();
  session_ = std::move(other.session_);
  eventfd_ = std::move(other.eventfd_);
  binding_ = other.binding_;
  return *this;
}

Interrupt::~Interrupt() { Unbind(); }

void Interrupt::Unbind() {
  const std::shared_ptr<Session> session = std::move(session_);
  if (session == nullptr) return;
  session->UnbindIrq({IrqAction::kTrigger, binding_.index, binding_.vector}, binding_.number);
}

absl::Status Interrupt::Mask() const { return Act(IrqAction::kMask); }
absl::Status Interrupt::Unmask() const { return Act(IrqAction::kUnmask); }

absl::Status Interrupt::Act(IrqAction action) const {
  if (session_ == nullptr) return absl::FailedPreconditionError("this interrupt was moved from");
  return session_->SetIrqs(
      {.data = IrqData::kNone, .action = action, .index = index(), .start = vector(), .count = 1},
      {});
}

absl::StatusOr<uint64_t> Interrupt::Wait(absl::Duration timeout) {
  if (session_ == nullptr) return absl::FailedPreconditionError("this interrupt was moved from");
  // The eventfd is shared with a forked child, which would take its parent's interrupts.
  VFIO_USER_RETURN_IF_ERROR(session_->CheckProcess());
  const Deadline deadline = Deadline::In(timeout);
  while (true) {
    uint64_t signals = 0;
    if (::read(eventfd_.get(), &signals, sizeof(signals)) == sizeof(signals)) return signals;
    if (errno != EAGAIN && errno != EINTR) return ErrnoStatus(errno, "reading an eventfd");
    pollfd entry = {.fd = eventfd_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&entry, 1, deadline.PollMilliseconds());
    if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "waiting for an interrupt");
    // Another thread may have taken what poll() saw: back to reading, unless the time is up.
    if (ready <= 0 && deadline.passed()) {
      return absl::DeadlineExceededError(fmt::format("no interrupt {} {} in {}", index(), vector(),
                                                     absl::FormatDuration(timeout)));
    }
  }
}

}  // namespace vfio_user
