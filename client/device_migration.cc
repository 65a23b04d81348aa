#include "client/device_migration.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

absl::Status CheckThen(MigState then) {
  if (then == MigState::kRunning || then == MigState::kStop) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("the device is to be left in {}, want running or stop", then));
}

}  // namespace

absl::StatusOr<DeviceMigration> DeviceMigration::Open(std::shared_ptr<Session> session) {
  const DeviceFeatures features(session);
  const absl::StatusOr<std::vector<uint8_t>> data =
      features.Get(Feature::kMigration, {}, MigrationFeature::kBytes);
  if (!data.ok()) {
    return features.Explain(data.status(), {.feature = Feature::kMigration, .ops = FeatureOp::kGet},
                            "the device cannot migrate: its state stays where it is");
  }
  const absl::StatusOr<MigrationFeature> feature = MigrationFeature::Parse(*data);
  if (!feature.ok()) return session->CloseBroken(feature.status());
  return DeviceMigration(std::move(session), features, feature->flags);
}

absl::StatusOr<MigState> DeviceMigration::state() const {
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> data,
                             features_.Get(Feature::kMigDeviceState, {}, MigDeviceState::kBytes));
  const absl::StatusOr<MigDeviceState> state = MigDeviceState::Parse(data);
  if (!state.ok()) return session_->CloseBroken(state.status());
  return state->state;
}

absl::Status DeviceMigration::SetState(MigState state) const {
  return Annotate(
      features_.Set(Feature::kMigDeviceState, Serialize(MigDeviceState{.state = state})).status(),
      fmt::format("to {}", state));
}

absl::StatusOr<uint64_t> DeviceMigration::BytesLeft() const {
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> data,
                             features_.Get(Feature::kMigDataSize, {}, MigDataSize::kBytes));
  const absl::StatusOr<MigDataSize> size = MigDataSize::Parse(data);
  if (!size.ok()) return session_->CloseBroken(size.status());
  return size->stop_copy_length;
}

absl::StatusOr<uint64_t> DeviceMigration::Save(const Sink& sink, MigState then) const {
  VFIO_USER_RETURN_IF_ERROR(CheckThen(then));
  VFIO_USER_ASSIGN_OR_RETURN(const MigState before, StateBefore());
  const absl::Status stopped = SetState(MigState::kStopCopy);
  if (!stopped.ok()) return GoBack(before, stopped);
  const absl::StatusOr<uint64_t> bytes = Drain(sink);
  if (!bytes.ok()) return GoBack(before, bytes.status());
  const absl::Status left = SetState(then);
  if (!left.ok()) return GoBack(before, left);
  return bytes;
}

absl::StatusOr<uint64_t> DeviceMigration::Load(const Source& source, MigState then) const {
  VFIO_USER_RETURN_IF_ERROR(CheckThen(then));
  VFIO_USER_ASSIGN_OR_RETURN(const MigState before, StateBefore());
  const absl::Status ready = SetState(MigState::kResuming);
  if (!ready.ok()) return GoBack(before, ready);
  const Written written = Fill(source);
  // The change of state is where most servers look at what was written as a whole.
  const absl::Status loaded = written.status.ok() ? SetState(then) : written.status;
  if (loaded.ok()) return written.bytes;
  return written.bytes == 0 ? GoBack(before, loaded) : Discard(before, loaded);
}

absl::StatusOr<MigState> DeviceMigration::StateBefore() const {
  VFIO_USER_ASSIGN_OR_RETURN(const MigState before, state());
  if (before == MigState::kRunning || before == MigState::kStop) return before;
  if (before == MigState::kPreCopy) return MigState::kRunning;
  return absl::FailedPreconditionError(
      fmt::format("the device is in {}, want running or stop: reset it", before));
}

absl::StatusOr<uint64_t> DeviceMigration::Drain(const Sink& sink) const {
  const uint32_t asked = session_->max_read_bytes();
  const std::vector<uint8_t> request =
      Serialize(MigDataReadRequest{.argsz = MigDataReadRequest::kBytes + asked, .size = asked});
  uint64_t total = 0;
  while (true) {
    PendingCall call;
    VFIO_USER_RETURN_IF_ERROR(
        session_->Call(Command::kMigDataRead, {.body = request, .payload = {}, .fds = {}}, call));
    const absl::StatusOr<MigDataReadReply> reply = MigDataReadReply::Parse(call.body());
    if (!reply.ok()) return session_->CloseBroken(reply.status());
    if (reply->data.size() > asked) {
      return session_->CloseBroken(absl::InvalidArgumentError(
          fmt::format("MIG_DATA_READ reply: size is {}, want at most {} as in the request",
                      reply->data.size(), asked)));
    }
    // By the specification a short piece is the last one; libvfio-user means only an empty one.
    if (reply->data.empty()) return total;
    VFIO_USER_RETURN_IF_ERROR(sink(std::as_bytes(reply->data)));
    total += reply->data.size();
  }
}

DeviceMigration::Written DeviceMigration::Fill(const Source& source) const {
  std::vector<std::byte> piece(session_->max_write_bytes());
  Written written;
  while (true) {
    const absl::StatusOr<size_t> given = source(piece);
    if (!given.ok()) {
      written.status = given.status();
      return written;
    }
    const size_t filled = std::min(*given, piece.size());
    if (filled == 0) return written;
    written.bytes += filled;
    const auto* const data = reinterpret_cast<const uint8_t*>(piece.data());
    const std::vector<uint8_t> request =
        Serialize(MigDataWriteRequest{.data = std::span(data, filled)});
    PendingCall call;
    written.status =
        session_->Call(Command::kMigDataWrite, {.body = request, .payload = {}, .fds = {}}, call);
    if (!written.status.ok()) return written;
  }
}

absl::Status DeviceMigration::GoBack(MigState before, const absl::Status& error) const {
  if (!session_->status().ok()) return error;
  const absl::Status back = SetState(before);
  if (back.ok()) return Annotate(error, fmt::format("the device is in {} again", before));
  const absl::StatusOr<MigState> now = state();
  if (now.ok() && *now == MigState::kError) return ResetFromError(before, error);
  // Its state is whole, and a reset would be the end of it.
  const std::string left = now.ok() ? fmt::format("{}", *now) : "a state that it does not tell";
  return Annotate(error,
                  fmt::format("the device was left in {}, or on its way still, because it "
                              "does not go back to {} now ({}): bring it back with SetState()",
                              left, before, std::string(back.message())));
}

absl::Status DeviceMigration::ResetFromError(MigState before, const absl::Status& error) const {
  const absl::Status reset = session_->Reset();
  if (!reset.ok()) {
    return Annotate(error, "the device is in error, and could not be reset, which is the way out");
  }
  // Where a reset does not start it again, as libvfio-user's does not.
  if (!SetState(before).ok()) {
    return Annotate(error, fmt::format("the device was reset, and does not go to {}", before));
  }
  return Annotate(error, fmt::format("the device was in error, which only a reset ends: it was "
                                     "reset, has lost its state, and is in {}",
                                     before));
}

absl::Status DeviceMigration::Discard(MigState before, const absl::Status& error) const {
  if (!session_->status().ok()) return error;
  absl::Status reset = session_->Reset();
  const absl::StatusOr<MigState> now = state();
  if (!reset.ok() || !now.ok() || *now != MigState::kRunning) {
    // libvfio-user's reset leaves it where it is, to take in on the way out what was written, and
    // is refused in some states.
    (void)SetState(MigState::kRunning);
    reset = session_->Reset();
  }
  if (!reset.ok()) {
    return Annotate(error,
                    "the device has a part of another state or all of it, has lost its own, and "
                    "could not be reset: reset it before it is used");
  }
  if (!SetState(before).ok()) {
    return Annotate(error, fmt::format("the device was reset, and does not go to {}", before));
  }
  return Annotate(error, fmt::format("the device had begun to take another state: it was reset, "
                                     "has lost its own, and is in {}",
                                     before));
}

}  // namespace vfio_user
