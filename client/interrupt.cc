#include "client/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>

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

Interrupt::Interrupt(std::shared_ptr<Session> session, UniqueFd eventfd, IrqIndex index,
                     uint32_t vector)
    : session_(std::move(session)),
      eventfd_(std::move(eventfd)),
      index_(index),
      vector_(vector),
      binding_(session_->NoteBinding(index, vector)) {}

Interrupt& Interrupt::operator=(Interrupt&& other) noexcept {
  if (this == &other) return *this;
  Unbind();
  session_ = std::move(other.session_);
  eventfd_ = std::move(other.eventfd_);
  index_ = other.index_;
  vector_ = other.vector_;
  binding_ = other.binding_;
  return *this;
}

Interrupt::~Interrupt() { Unbind(); }

void Interrupt::Unbind() {
  const std::shared_ptr<Session> session = std::move(session_);
  // In a forked child the session is not even looked into: a lock in it may be held for ever.
  if (session == nullptr || !session->CheckProcess().ok()) return;
  // What a later Interrupt bound is not this one's to unbind.
  if (!session->IsLastBinding(index_, vector_, binding_)) return;
  const SetIrqsRequest binding = {.data = IrqData::kEventfd,
                                  .action = IrqAction::kTrigger,
                                  .index = index_,
                                  .start = vector_,
                                  .count = 1};
  if (vector_ > 0 && session->may_be_libvfio_user()) {
    // libvfio-user says OK to unbinding any vector but the first, and goes on signalling it. So it
    // gets an eventfd instead that nobody reads: ours to forget, and not one that fills and blocks.
    const UniqueFd nobodys(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const FdView fd = nobodys;
    if (nobodys.valid()) (void)session->SetIrqs(binding, {&fd, 1});
  }
  (void)session->SetIrqs(binding, {});
}

absl::Status Interrupt::Mask() const { return Act(IrqAction::kMask); }
absl::Status Interrupt::Unmask() const { return Act(IrqAction::kUnmask); }

absl::Status Interrupt::Act(IrqAction action) const {
  if (session_ == nullptr) return absl::FailedPreconditionError("this interrupt was moved from");
  return session_->SetIrqs(
      {.data = IrqData::kNone, .action = action, .index = index_, .start = vector_, .count = 1},
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
      return absl::DeadlineExceededError(
          fmt::format("no interrupt {} {} in {}", index_, vector_, absl::FormatDuration(timeout)));
    }
  }
}

}  // namespace vfio_user
