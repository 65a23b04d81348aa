#include "server/migration/migration.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"
#include "server/migratable.h"
#include "server/migration/migration_state.h"

namespace vfio_user {

MigState Migration::state() const {
  MutexLock lock(mu_);
  return state_;
}

absl::Status Migration::CheckIdle() const {
  if (under_way_ == 0) return absl::OkStatus();
  return ErrnoStatus(EBUSY, "migration: a change of state or a reset is under way");
}

absl::Status Migration::SetState(MigState to, std::function<void(const absl::Status&)> done) {
  MigState from{};
  std::vector<MigState> path;
  {
    MutexLock lock(mu_);
    VFIO_USER_RETURN_IF_ERROR(CheckIdle());
    from = state_;
    VFIO_USER_ASSIGN_OR_RETURN(path, MigrationPath(from, to));
    ++under_way_;
  }
  // Before the work is posted that finds the device at rest; no path leads out of rest and back.
  if (DeviceRunsIn(from) && !DeviceRunsIn(to)) device_.migratable()->Pause();
  work_.Post([this, path = std::move(path), done = std::move(done)] {
    const absl::Status walked = Walk(path);
    {
      MutexLock lock(mu_);
      --under_way_;
    }
    done(walked);
  });
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint8_t>> Migration::Read(size_t most_bytes) {
  MutexLock lock(mu_);
  VFIO_USER_RETURN_IF_ERROR(CheckIdle());
  if (state_ != MigState::kPreCopy && state_ != MigState::kStopCopy) {
    return absl::InvalidArgumentError(
        fmt::format("MIG_DATA_READ: the state is {}, want pre-copy or stop-copy", state_));
  }
  const std::span<const uint8_t> left = std::span(outgoing_).subspan(outgoing_read_);
  const std::span<const uint8_t> next = left.first(std::min(left.size(), most_bytes));
  outgoing_read_ += next.size();
  return std::vector<uint8_t>(next.begin(), next.end());
}

absl::StatusOr<uint64_t> Migration::BytesLeft() const {
  MutexLock lock(mu_);
  VFIO_USER_RETURN_IF_ERROR(CheckIdle());
  if (state_ != MigState::kStopCopy) {
    return absl::InvalidArgumentError(
        fmt::format("MIG_DATA_SIZE: the state is {}, want stop-copy", state_));
  }
  return outgoing_.size() - outgoing_read_;
}

absl::Status Migration::Write(std::span<const uint8_t> bytes) {
  MutexLock lock(mu_);
  VFIO_USER_RETURN_IF_ERROR(CheckIdle());
  if (state_ != MigState::kResuming) {
    return absl::InvalidArgumentError(
        fmt::format("MIG_DATA_WRITE: the state is {}, want resuming", state_));
  }
  if (bytes.size() > kMostStateBytes - incoming_.size()) {
    return ErrnoStatus(ENOSPC,
                       fmt::format("MIG_DATA_WRITE: {} bytes after {}, want at most {} in all",
                                   bytes.size(), incoming_.size(), kMostStateBytes));
  }
  incoming_.insert(incoming_.end(), bytes.begin(), bytes.end());
  return absl::OkStatus();
}

void Migration::ResetBegins() {
  MutexLock lock(mu_);
  ++under_way_;
}

void Migration::ResetEnds() {
  RunAgain();
  MutexLock lock(mu_);
  --under_way_;
}

void Migration::ClientGone() {
  if (!DeviceRunsIn(state())) {
    work_.Post([this] { RunAgain(); });
    return;
  }
  MutexLock lock(mu_);
  state_ = MigState::kRunning;
}

void Migration::RunAgain() {
  bool rests = false;
  {
    MutexLock lock(mu_);
    rests = !DeviceRunsIn(state_);
    state_ = MigState::kRunning;
    // Assigning {} would keep the memory, of which a client may have asked for all that there is.
    outgoing_ = std::vector<uint8_t>();
    outgoing_read_ = 0;
    incoming_ = std::vector<uint8_t>();
  }
  if (rests) device_.migratable()->Resume();
}

absl::Status Migration::Walk(const std::vector<MigState>& path) {
  for (const MigState next : path) {
    const MigState from = state();
    const absl::Status stepped = Step(from, next);
    MutexLock lock(mu_);
    if (stepped.ok()) {
      state_ = next;
      continue;
    }
    // What could not be saved is at rest and otherwise fine.
    state_ = from == MigState::kResuming ? MigState::kError : MigState::kStop;
    return stepped;
  }
  return absl::OkStatus();
}

absl::Status Migration::Step(MigState from, MigState to) {
  if (to == MigState::kStopCopy) return Save();
  if (from == MigState::kResuming) return Restore();
  if (from == MigState::kStop && to == MigState::kRunning) device_.migratable()->Resume();
  MutexLock lock(mu_);
  // What was not read of a state ends with STOP_COPY.
  outgoing_ = std::vector<uint8_t>();
  outgoing_read_ = 0;
  return absl::OkStatus();
}

absl::Status Migration::Save() {
  SavedState saved{.name = device_.description().name};
  kept_.SaveInto(saved);
  VFIO_USER_ASSIGN_OR_RETURN(saved.device, device_.migratable()->Save());
  std::vector<uint8_t> stream = saved.ToStream();
  if (stream.size() > kMostStateBytes) {
    return ErrnoStatus(ENOSPC, fmt::format("device state of {} bytes, want at most {}",
                                           stream.size(), kMostStateBytes));
  }
  MutexLock lock(mu_);
  outgoing_ = std::move(stream);
  outgoing_read_ = 0;
  return absl::OkStatus();
}

absl::Status Migration::Restore() {
  std::vector<uint8_t> stream;
  {
    MutexLock lock(mu_);
    stream.swap(incoming_);
  }
  if (stream.empty()) return absl::OkStatus();
  VFIO_USER_ASSIGN_OR_RETURN(const SavedState saved, SavedState::Parse(stream));
  if (saved.name != device_.description().name) {
    return absl::InvalidArgumentError(fmt::format("device state: it is a {}'s, and this is a {}",
                                                  saved.name, device_.description().name));
  }
  // What can fail first: interrupts that are restored are perhaps signalled, for good.
  VFIO_USER_RETURN_IF_ERROR(kept_.Check(saved));
  VFIO_USER_RETURN_IF_ERROR(device_.migratable()->Restore(saved.device));
  kept_.RestoreFrom(saved);
  return absl::OkStatus();
}

}  // namespace vfio_user
