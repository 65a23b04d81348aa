#include "server/interrupt_table.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"
#include "server/interrupt_types.h"

namespace vfio_user {
namespace {

// How long DropAll leaves signals to themselves before it takes them for blocked. What it does then
// empties the counter, and that could be the client's loss.
constexpr std::chrono::milliseconds kBlockedAfter(10);

absl::Status CheckFds(const SetIrqsRequest& request, size_t fds) {
  const size_t most = request.data == IrqData::kEventfd ? request.count : 0;
  if (fds == 0 || fds == most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("SET_IRQS: {} descriptors, want {}", fds, most == 0 ? 0 : request.count));
}

absl::StatusOr<std::vector<std::shared_ptr<const EventFd>>> AdoptAll(std::vector<UniqueFd> fds) {
  std::vector<std::shared_ptr<const EventFd>> targets;
  for (UniqueFd& fd : fds) {
    VFIO_USER_ASSIGN_OR_RETURN(EventFd target, EventFd::Adopt(std::move(fd)));
    targets.push_back(std::make_shared<const EventFd>(std::move(target)));
  }
  return targets;
}

}  // namespace

InterruptTable::InterruptTable(std::span<const IrqDescription> types) {
  for (const IrqDescription& type : types) {
    types_.at(static_cast<size_t>(type.index)) = {InterruptFlags(type.index),
                                                  std::vector<Vector>(type.count)};
  }
}

absl::StatusOr<IrqInfo> InterruptTable::Info(IrqIndex index) const {
  if (static_cast<uint32_t>(index) >= kPciIrqCount) {
    return absl::InvalidArgumentError(
        fmt::format("GET_IRQ_INFO: index is {}, want below {}", index, kPciIrqCount));
  }
  MutexLock lock(mu_);
  const Type& type = types_[static_cast<size_t>(index)];
  IrqInfo info;
  info.flags = type.flags;
  info.index = index;
  info.count = static_cast<uint32_t>(type.vectors.size());
  return info;
}

absl::StatusOr<std::vector<uint32_t>> InterruptTable::Apply(const SetIrqsRequest& request,
                                                            std::vector<UniqueFd> fds) {
  VFIO_USER_RETURN_IF_ERROR(CheckFds(request, fds.size()));
  VFIO_USER_ASSIGN_OR_RETURN(std::vector<Target> targets, AdoptAll(std::move(fds)));

  std::vector<uint32_t> to_trigger;
  MutexLock lock(mu_);
  VFIO_USER_ASSIGN_OR_RETURN(std::span<Vector> vectors, Select(request));
  if (request.data == IrqData::kEventfd) {
    targets.resize(vectors.size());
    for (size_t i = 0; i < vectors.size(); ++i) vectors[i].target = std::move(targets[i]);
    return to_trigger;
  }
  if (request.count == 0) {
    std::ranges::fill(types_[static_cast<size_t>(request.index)].vectors, Vector());
    return to_trigger;
  }
  for (uint32_t i = 0; i < vectors.size(); ++i) {
    if (request.data == IrqData::kBool && request.bools[i] == 0) continue;
    if (request.action != IrqAction::kTrigger) {
      vectors[i].masked = request.action == IrqAction::kMask;
      if (vectors[i].masked || !std::exchange(vectors[i].pending, false)) continue;
    }
    to_trigger.push_back(request.start + i);
  }
  return to_trigger;
}

absl::StatusOr<std::span<InterruptTable::Vector>> InterruptTable::Select(
    const SetIrqsRequest& request) {
  const auto index = static_cast<uint32_t>(request.index);
  if (index >= kPciIrqCount || types_[index].vectors.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("SET_IRQS: the device has no interrupts of type {}", request.index));
  }
  Type& type = types_[index];
  const size_t vectors = type.vectors.size();
  if (request.start >= vectors || request.count > vectors - request.start) {
    return absl::InvalidArgumentError(fmt::format("SET_IRQS: vectors {} + {}, the device has {}",
                                                  request.start, request.count, vectors));
  }
  if (request.action != IrqAction::kTrigger) {
    if (!type.flags.Has(IrqInfoFlag::kMaskable)) {
      return absl::InvalidArgumentError(
          fmt::format("SET_IRQS: {} of the device cannot be masked", request.index));
    }
    if (request.data == IrqData::kEventfd) {
      return absl::UnimplementedError("SET_IRQS: masking through an eventfd");
    }
  }
  return std::span(type.vectors).subspan(request.start, request.count);
}

void InterruptTable::Trigger(IrqIndex index, uint32_t vector) {
  if (static_cast<uint32_t>(index) >= kPciIrqCount) return;
  Target target;
  {
    MutexLock lock(mu_);
    Type& type = types_[static_cast<size_t>(index)];
    if (vector >= type.vectors.size()) return;
    Vector& state = type.vectors[vector];
    target = state.target;
    if (target == nullptr) return;
    if (state.masked) {
      state.pending = true;
      return;
    }
    state.masked = type.flags.Has(IrqInfoFlag::kAutomasked);
    signalling_.push_back(target);
  }
  target->Signal();
  MutexLock lock(mu_);
  signalling_.erase(std::ranges::find(signalling_, target));
  signalled_.NotifyAll();
}

IrqIndex InterruptTable::enabled() const {
  MutexLock lock(mu_);
  for (const IrqIndex index : {IrqIndex::kMsix, IrqIndex::kMsi}) {
    const auto bound = [](const Vector& vector) { return vector.target != nullptr; };
    if (std::ranges::any_of(types_[static_cast<size_t>(index)].vectors, bound)) return index;
  }
  return IrqIndex::kIntx;
}

void InterruptTable::DropAll() {
  MutexLock lock(mu_);
  for (Type& type : types_) std::ranges::fill(type.vectors, Vector());
  while (!signalling_.empty()) {
    if (signalled_.WaitUntil(mu_, std::chrono::steady_clock::now() + kBlockedAfter)) continue;
    for (const Target& target : signalling_) (void)target->Take();
  }
}

}  // namespace vfio_user
