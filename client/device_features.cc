#include "client/device_features.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

// What servers say of a feature that they do not have: EINVAL libvfio-user, ENOTTY the kernel. EIO
// stands for an error without a number.
bool MeansNoSuchFeature(const absl::Status& refusal) {
  const int error = ErrnoOf(refusal);
  return error == EINVAL || error == ENOTTY || error == EOPNOTSUPP || error == ENOSYS ||
         error == ENOENT || error == EIO;
}

absl::Status Wrong(const std::string& what) {
  return absl::InvalidArgumentError("DEVICE_FEATURE reply: " + what);
}

absl::Status CheckReply(const DeviceFeature& reply, const DeviceFeature& request,
                        size_t max_bytes) {
  if (reply.feature != request.feature || reply.ops != request.ops) {
    return Wrong(fmt::format("it is to {} {}, want {} {} as in the request", reply.ops,
                             reply.feature, request.ops, request.feature));
  }
  if (reply.data.size() > max_bytes) {
    return Wrong(fmt::format("data is {} bytes, want at most {}", reply.data.size(), max_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> DeviceFeatures::Probe(Feature feature, FeatureOps ops) const {
  const absl::Status answer = Ask({.feature = feature, .ops = ops | FeatureOp::kProbe}).status();
  if (answer.ok()) return true;
  VFIO_USER_RETURN_IF_ERROR(session_->status());
  if (MeansNoSuchFeature(answer)) return false;
  return answer;
}

absl::StatusOr<std::vector<uint8_t>> DeviceFeatures::Get(Feature feature,
                                                         std::span<const uint8_t> data,
                                                         uint32_t max_bytes) const {
  const size_t most = std::max<size_t>(data.size(), max_bytes);
  return Ask({.argsz = DeviceFeature::kBytes + static_cast<uint32_t>(most),
              .feature = feature,
              .ops = FeatureOp::kGet,
              .data = {data.begin(), data.end()}});
}

absl::StatusOr<std::vector<uint8_t>> DeviceFeatures::Set(Feature feature,
                                                         std::span<const uint8_t> data) const {
  return Ask({.argsz = DeviceFeature::kBytes + static_cast<uint32_t>(data.size()),
              .feature = feature,
              .ops = FeatureOp::kSet,
              .data = {data.begin(), data.end()}});
}

absl::StatusOr<std::vector<uint8_t>> DeviceFeatures::Ask(const DeviceFeature& request) const {
  const std::vector<uint8_t> body = Serialize(request);
  if (body.size() > session_->max_write_bytes()) {
    return absl::ResourceExhaustedError(
        fmt::format("DEVICE_FEATURE of {} bytes, want at most the {} that the server takes",
                    body.size(), session_->max_write_bytes()));
  }
  PendingCall call;
  VFIO_USER_RETURN_IF_ERROR(Annotate(
      session_->Call(Command::kDeviceFeature, {.body = body, .payload = {}, .fds = {}}, call),
      fmt::format("{} {}", request.ops, request.feature)));
  absl::StatusOr<DeviceFeature> reply = DeviceFeature::Parse(call.body());
  if (!reply.ok()) return session_->CloseBroken(reply.status());
  const absl::Status checked = CheckReply(*reply, request, request.argsz - DeviceFeature::kBytes);
  if (!checked.ok()) return session_->CloseBroken(checked);
  return std::move(reply->data);
}

absl::Status DeviceFeatures::Explain(const absl::Status& refusal, const DeviceFeature& probe,
                                     std::string_view lacking) const {
  VFIO_USER_RETURN_IF_ERROR(session_->status());
  if (!MeansNoSuchFeature(refusal)) return refusal;
  VFIO_USER_ASSIGN_OR_RETURN(const bool has, Probe(probe.feature, probe.ops));
  if (has) return refusal;
  return Annotate(WithCode(refusal, absl::StatusCode::kUnimplemented), lacking);
}

}  // namespace vfio_user
