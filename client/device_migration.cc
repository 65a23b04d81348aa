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
  const absl::StatusOr<uint64_t> bytes = Fill(source);
  if (!bytes.ok()) return GoBack(before, bytes.status());
  // Where most servers look at the state as a whole.
  const absl::Status loaded = SetState(then);
  if (!loaded.ok()) return GoBack(before, loaded);
  return bytes;
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

absl::StatusOr<uint64_t> DeviceMigration::Fill(const Source& source) const {
  std::vector<std::byte> piece(session_->max_write_bytes());
  uint64_t total = 0;
  while (true) {
    VFIO_USER_ASSIGN_OR_RETURN(size_t filled, source(piece));
    filled = std::min(filled, piece.size());
    if (filled == 0) return total;
    const auto* const data = reinterpret_cast<const uint8_t*>(piece.data());
    const std::vector<uint8_t> request =
        Serialize(MigDataWriteRequest{.data = std::span(data, filled)});
    PendingCall call;
    VFIO_USER_RETURN_IF_ERROR(
        session_->Call(Command::kMigDataWrite, {.body = request, .payload = {}, .fds = {}}, call));
    total += filled;
  }
}

absl::Status DeviceMigration::GoBack(MigState before, const absl::Status& error) const {
  if (!session_->status().ok()) return error;
  if (SetState(before).ok()) {
    return Annotate(error, fmt::format("the device is in {} again, as before", before));
  }
  return ResetAfter(error);
}

absl::Status DeviceMigration::ResetAfter(const absl::Status& error) const {
  if (!session_->Reset().ok()) {
    return Annotate(error, "the device could not be brought back, and has to be reset");
  }
  // Where a reset does not start it again, as libvfio-user's does not.
  if (!SetState(MigState::kRunning).ok()) {
    return Annotate(error, "the device was reset, and does not run");
  }
  return Annotate(error, "the device could not return to its state, and was reset");
}

}  // namespace vfio_user
