#include "server/interrupts/interrupt_table.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

// How long DropAll leaves signals to themselves before it takes them for blocked. What it does then
// empties the counter, and that could be the client's loss.
constexpr std::chrono::milliseconds kBlockedAfter(10);

size_t At(IrqIndex index) { return static_cast<size_t>(index); }

absl::StatusOr<std::vector<std::shared_ptr<const EventFd>>> AdoptAll(std::vector<UniqueFd> fds) {
  std::vector<std::shared_ptr<const EventFd>> targets;
  for (UniqueFd& fd : fds) {
    VFIO_USER_ASSIGN_OR_RETURN(EventFd target, EventFd::Adopt(std::move(fd)));
    targets.push_back(std::make_shared<const EventFd>(std::move(target)));
  }
  return targets;
}

}  // namespace

InterruptTable::InterruptTable(std::span<const IrqDescription> types, std::function<void()> on_due)
    : on_due_(std::move(on_due)) {
  for (const IrqDescription& type : types) {
    types_.at(At(type.index)) = {.flags = InterruptFlags(type.index),
                                 .vectors = std::vector<Vector>(type.count)};
  }
}

absl::StatusOr<IrqInfo> InterruptTable::Info(IrqIndex index) const {
  if (At(index) >= kPciIrqCount) {
    return absl::InvalidArgumentError(
        fmt::format("GET_IRQ_INFO: index is {}, want below {}", index, kPciIrqCount));
  }
  MutexLock lock(mu_);
  const Type& type = types_[At(index)];
  IrqInfo info;
  info.flags = type.flags;
  info.index = index;
  info.count = static_cast<uint32_t>(type.vectors.size());
  return info;
}

absl::Status InterruptTable::Check(const SetIrqsRequest& request, size_t fds) const {
  MutexLock lock(mu_);
  if (At(request.index) >= kPciIrqCount || types_[At(request.index)].vectors.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("SET_IRQS: the device has no interrupts of type {}", request.index));
  }
  const Type& type = types_[At(request.index)];
  const size_t vectors = type.vectors.size();
  if (request.start >= vectors || request.count > vectors - request.start) {
    return absl::InvalidArgumentError(fmt::format("SET_IRQS: vectors {} + {}, the device has {}",
                                                  request.start, request.count, vectors));
  }
  if (request.action != IrqAction::kTrigger && !type.flags.Has(IrqInfoFlag::kMaskable)) {
    return absl::InvalidArgumentError(
        fmt::format("SET_IRQS: {} of the device cannot be masked", request.index));
  }
  const size_t most = request.data == IrqData::kEventfd ? request.count : 0;
  if (fds == 0 || fds == most) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("SET_IRQS: {} descriptors, want {}", fds, most));
}

absl::Status InterruptTable::Apply(const SetIrqsRequest& request, std::vector<UniqueFd> fds) {
  VFIO_USER_RETURN_IF_ERROR(Check(request, fds.size()));
  VFIO_USER_ASSIGN_OR_RETURN(std::vector<Target> targets, AdoptAll(std::move(fds)));
  if (request.data == IrqData::kEventfd) targets.resize(request.count);
  MakeChange([this, &request, &targets]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<Vector>& all = types_[At(request.index)].vectors;
    for (uint32_t i = 0; i < request.count; ++i) {
      Vector& vector = all[request.start + i];
      if (request.data == IrqData::kEventfd) {
        std::swap(vector.target, targets[i]);
      } else if (request.data == IrqData::kNone || request.bools[i] != 0) {
        ApplyToVector(vector, request.action);
      }
    }
    if (request.count > 0) return true;
    for (Vector& vector : all) ForgetClient(vector);
    return true;
  });
  return absl::OkStatus();
}

void InterruptTable::ForgetClient(Vector& vector) {
  vector.target.reset();
  vector.by_client = Masking::kUnmasked;
  vector.pending = PendingState::kNo;
}

void InterruptTable::ApplyToVector(Vector& vector, IrqAction action) {
  if (action == IrqAction::kTrigger) {
    MakePending(vector);
  } else {
    vector.by_client = action == IrqAction::kMask ? Masking::kMasked : Masking::kUnmasked;
  }
}

void InterruptTable::MakePending(Vector& vector) {
  if (vector.pending == PendingState::kNo) vector.pending = PendingState::kTriggered;
}

void InterruptTable::LoseUnbound(Vector& vector) {
  if (vector.pending == PendingState::kTriggered) vector.pending = PendingState::kNo;
}

template <typename Change>
void InterruptTable::MakeChange(Change change) {
  {
    MutexLock lock(mu_);
    if (!change() || announced_ || !AnyDue()) return;
    announced_ = true;
  }
  on_due_();
}

bool InterruptTable::Wanted(const Type& type, const Vector& vector) const {
  if (type.mask == Masking::kMasked || vector.by_client == Masking::kMasked ||
      vector.by_device == Masking::kMasked) {
    return false;
  }
  return vector.pending != PendingState::kNo ||
         (&type == &types_[At(IrqIndex::kIntx)] && line_ == IntxLine::kUp);
}

bool InterruptTable::AnyDue() {
  bool any = false;
  for (Type& type : types_) {
    for (Vector& vector : type.vectors) {
      if (!Wanted(type, vector)) continue;
      any = any || vector.target != nullptr;
      if (vector.target == nullptr) LoseUnbound(vector);
    }
  }
  return any;
}

InterruptTable::Target InterruptTable::TakeDue(Type& type, Vector& vector) {
  if (!Wanted(type, vector)) return nullptr;
  if (vector.target == nullptr) {
    LoseUnbound(vector);
    return nullptr;
  }
  vector.pending = PendingState::kNo;
  if (type.flags.Has(IrqInfoFlag::kAutomasked)) vector.by_client = Masking::kMasked;
  signalling_.push_back(vector.target);
  return vector.target;
}

void InterruptTable::Signal(const Target& target) {
  target->Signal();
  MutexLock lock(mu_);
  signalling_.erase(std::ranges::find(signalling_, target));
  signalled_.NotifyAll();
}

template <typename Change>
void InterruptTable::ChangeAndSignal(IrqIndex index, uint32_t vector, Change change) {
  if (At(index) >= kPciIrqCount) return;
  Target target;
  {
    MutexLock lock(mu_);
    Type& type = types_[At(index)];
    if (vector >= type.vectors.size()) return;
    change(type.vectors[vector]);
    target = TakeDue(type, type.vectors[vector]);
  }
  if (target != nullptr) Signal(target);
}

void InterruptTable::Trigger(IrqIndex index, uint32_t vector) {
  ChangeAndSignal(index, vector, MakePending);
}

void InterruptTable::SetLine(IntxLine line) {
  ChangeAndSignal(IrqIndex::kIntx, 0,
                  [this, line](Vector&) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { line_ = line; });
}

IntxLine InterruptTable::line() const {
  MutexLock lock(mu_);
  return line_;
}

void InterruptTable::MaskType(IrqIndex index, Masking mask) {
  MakeChange([this, index, mask]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return std::exchange(types_.at(At(index)).mask, mask) != mask;
  });
}

void InterruptTable::MaskVectors(IrqIndex index, uint32_t first, std::span<const Masking> masks) {
  MakeChange([this, index, first, masks]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<Vector>& vectors = types_.at(At(index)).vectors;
    bool changed = false;
    for (size_t i = 0; i < masks.size(); ++i) {
      changed |= std::exchange(vectors.at(first + i).by_device, masks[i]) != masks[i];
    }
    return changed;
  });
}

void InterruptTable::RestorePending(IrqIndex index, std::span<const std::byte> bits) {
  MakeChange([this, index, bits]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<Vector>& vectors = types_.at(At(index)).vectors;
    for (size_t i = 0; i < vectors.size(); ++i) {
      const auto byte = i / 8 < bits.size() ? std::to_integer<unsigned>(bits[i / 8]) : 0;
      vectors[i].pending = (byte >> (i % 8) & 1) != 0 ? PendingState::kRestored : PendingState::kNo;
    }
    return true;
  });
}

uint64_t InterruptTable::Pending(IrqIndex index, uint32_t first) const {
  MutexLock lock(mu_);
  const std::vector<Vector>& vectors = types_.at(At(index)).vectors;
  uint64_t bits = 0;
  for (size_t i = 0; i < 64 && first + i < vectors.size(); ++i) {
    if (vectors[first + i].pending != PendingState::kNo) bits |= uint64_t{1} << i;
  }
  return bits;
}

bool InterruptTable::bound(IrqIndex index) const {
  MutexLock lock(mu_);
  return std::ranges::any_of(types_.at(At(index)).vectors,
                             [](const Vector& vector) { return vector.target != nullptr; });
}

void InterruptTable::SignalDue() {
  std::vector<Target> due;
  {
    MutexLock lock(mu_);
    announced_ = false;
    for (Type& type : types_) {
      for (Vector& vector : type.vectors) {
        if (Target target = TakeDue(type, vector)) due.push_back(std::move(target));
      }
    }
  }
  for (const Target& target : due) Signal(target);
}

void InterruptTable::Reset() {
  MutexLock lock(mu_);
  line_ = IntxLine::kDown;
  for (Type& type : types_) {
    type.mask = Masking::kUnmasked;
    for (Vector& vector : type.vectors) {
      vector.by_device = Masking::kUnmasked;
      vector.pending = PendingState::kNo;
    }
  }
}

void InterruptTable::DropAll() {
  MutexLock lock(mu_);
  for (Type& type : types_) {
    for (Vector& vector : type.vectors) ForgetClient(vector);
  }
  while (!signalling_.empty()) {
    if (signalled_.WaitUntil(mu_, std::chrono::steady_clock::now() + kBlockedAfter)) continue;
    for (const Target& target : signalling_) (void)target->Take();
  }
}

}  // namespace vfio_user
