#include "client/interrupt_type.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

// Without EFD_NONBLOCK a counter that is full would hold up the server, which shares the flag.
absl::StatusOr<UniqueFd> NewEventfd() {
  UniqueFd eventfd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!eventfd.valid()) return ErrnoStatus(errno, "eventfd");
  return eventfd;
}

}  // namespace

InterruptType::InterruptType(std::shared_ptr<Session> session, const IrqInfo& info)
    : session_(std::move(session)), info_(info) {}

absl::Status InterruptType::CheckVectors(uint32_t first, uint32_t count) const {
  if (first < info_.count && count <= info_.count - first) return absl::OkStatus();
  return absl::NotFoundError(
      count == 1 ? fmt::format("the device has no {} vector {}: it has {}", info_.index, first,
                               info_.count)
                 : fmt::format("the device has no {} vectors {} to {}: it has {}", info_.index,
                               first, uint64_t{first} + count - 1, info_.count));
}

absl::StatusOr<Interrupt> InterruptType::Bind(uint32_t vector) const {
  VFIO_USER_ASSIGN_OR_RETURN(std::vector<Interrupt> bound, Bind(vector, 1));
  return std::move(bound.front());
}

absl::StatusOr<std::vector<Interrupt>> InterruptType::Bind(uint32_t first, uint32_t count) const {
  if (count == 0) return absl::InvalidArgumentError("binding no vector, want 1 or more");
  VFIO_USER_RETURN_IF_ERROR(CheckVectors(first, count));
  const uint32_t most = session_->max_message_fds();
  std::vector<Interrupt> bound;
  bound.reserve(count);
  for (uint32_t done = 0; done < count; done += most) {
    VFIO_USER_RETURN_IF_ERROR(BindRun(first + done, std::min(most, count - done), bound));
  }
  return bound;
}

absl::Status InterruptType::BindRun(uint32_t first, uint32_t count,
                                    std::vector<Interrupt>& bound) const {
  std::vector<UniqueFd> eventfds;
  for (uint32_t i = 0; i < count; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(UniqueFd eventfd, NewEventfd());
    eventfds.push_back(std::move(eventfd));
  }
  const std::vector<FdView> views(eventfds.begin(), eventfds.end());
  VFIO_USER_ASSIGN_OR_RETURN(const uint64_t binding,
                             session_->BindIrqs({.data = IrqData::kEventfd,
                                                 .action = IrqAction::kTrigger,
                                                 .index = info_.index,
                                                 .start = first,
                                                 .count = count},
                                                views));
  for (uint32_t i = 0; i < count; ++i) {
    bound.push_back(
        Interrupt(session_, std::move(eventfds[i]), {info_.index, first + i, binding + i}));
  }
  return absl::OkStatus();
}

absl::Status InterruptType::Disable() const { return session_->DisableIrqs(info_.index); }

absl::Status InterruptType::Mask(uint32_t first, uint32_t count) const {
  return Act(IrqAction::kMask, first, count);
}
absl::Status InterruptType::Unmask(uint32_t first, uint32_t count) const {
  return Act(IrqAction::kUnmask, first, count);
}
absl::Status InterruptType::Trigger(uint32_t first, uint32_t count) const {
  return Act(IrqAction::kTrigger, first, count);
}

absl::Status InterruptType::Mask(std::span<const uint32_t> vectors) const {
  return Act(IrqAction::kMask, vectors);
}
absl::Status InterruptType::Unmask(std::span<const uint32_t> vectors) const {
  return Act(IrqAction::kUnmask, vectors);
}
absl::Status InterruptType::Trigger(std::span<const uint32_t> vectors) const {
  return Act(IrqAction::kTrigger, vectors);
}

absl::Status InterruptType::Act(IrqAction action, uint32_t first, uint32_t count) const {
  // A count of 0 would be another request: it disables the whole type.
  if (count == 0) return absl::OkStatus();
  VFIO_USER_RETURN_IF_ERROR(CheckVectors(first, count));
  return session_->SetIrqs({.data = IrqData::kNone,
                            .action = action,
                            .index = info_.index,
                            .start = first,
                            .count = count},
                           {});
}

absl::Status InterruptType::Act(IrqAction action, std::span<const uint32_t> vectors) const {
  if (vectors.empty()) return absl::OkStatus();
  for (const uint32_t vector : vectors) VFIO_USER_RETURN_IF_ERROR(CheckVectors(vector, 1));
  const auto [lowest, highest] = std::ranges::minmax(vectors);
  std::vector<uint8_t> bools(highest - lowest + 1);
  for (const uint32_t vector : vectors) bools[vector - lowest] = 1;
  // More servers take rows without the bytes.
  if (std::ranges::all_of(bools, [](uint8_t one) { return one != 0; })) {
    return Act(action, lowest, highest - lowest + 1);
  }
  SetIrqsRequest request = {.data = IrqData::kBool,
                            .action = action,
                            .index = info_.index,
                            .start = lowest,
                            .count = highest - lowest + 1};
  request.bools = std::move(bools);
  return session_->SetIrqs(request, {});
}

absl::StatusOr<InterruptSwitch> InterruptType::BindMaskSwitch(uint32_t vector) const {
  return BindSwitch(IrqAction::kMask, vector);
}
absl::StatusOr<InterruptSwitch> InterruptType::BindUnmaskSwitch(uint32_t vector) const {
  return BindSwitch(IrqAction::kUnmask, vector);
}

absl::StatusOr<InterruptSwitch> InterruptType::BindSwitch(IrqAction action, uint32_t vector) const {
  VFIO_USER_RETURN_IF_ERROR(CheckVectors(vector, 1));
  VFIO_USER_ASSIGN_OR_RETURN(UniqueFd eventfd, NewEventfd());
  const SetIrqsRequest request = {.data = IrqData::kEventfd,
                                  .action = action,
                                  .index = info_.index,
                                  .start = vector,
                                  .count = 1};
  const FdView fd = eventfd;
  VFIO_USER_ASSIGN_OR_RETURN(const uint64_t binding, session_->BindIrqs(request, {&fd, 1}));
  return InterruptSwitch(session_, std::move(eventfd), {action, info_.index, vector, binding});
}

}  // namespace vfio_user
