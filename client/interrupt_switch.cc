#include "client/interrupt_switch.h"

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "client/session/session.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {

InterruptSwitch& InterruptSwitch::operator=(InterruptSwitch&& other) noexcept {
  if (this == &other) return *this;
  Unbind();
  session_ = std::move(other.session_);
  eventfd_ = std::move(other.eventfd_);
  binding_ = other.binding_;
  return *this;
}

InterruptSwitch::~InterruptSwitch() { Unbind(); }

void InterruptSwitch::Unbind() {
  const std::shared_ptr<Session> session = std::move(session_);
  if (session == nullptr) return;
  session->UnbindIrq({binding_.action, binding_.index, binding_.vector}, binding_.number);
}

absl::Status InterruptSwitch::Signal() const {
  if (session_ == nullptr) return absl::FailedPreconditionError("this switch was moved from");
  VFIO_USER_RETURN_IF_ERROR(session_->CheckProcess());
  const uint64_t once = 1;
  // EAGAIN: the server has not yet looked at very many signals before this one, which will do.
  if (::write(eventfd_.get(), &once, sizeof(once)) == sizeof(once) || errno == EAGAIN) {
    return absl::OkStatus();
  }
  return ErrnoStatus(errno, "signalling an eventfd");
}

}  // namespace vfio_user
