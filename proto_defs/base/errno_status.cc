#include "proto_defs/base/errno_status.h"

#include <cerrno>
#include <charconv>
#include <optional>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "fmt/format.h"

namespace vfio_user {
namespace {

constexpr char kErrnoPayload[] = "vfio-user/errno";

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case EFAULT:  // An address outside every mapping, not a wrong argument of this call.
      return absl::StatusCode::kOutOfRange;
    case EIO:
    case EREMOTEIO:
      return absl::StatusCode::kAborted;
    case EMFILE:
      return absl::StatusCode::kResourceExhausted;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return absl::StatusCode::kUnavailable;
    case EISDIR:
    case ENOTDIR:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::ErrnoToStatusCode(error);
  }
}

int ErrnoOfCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return EINVAL;
    case absl::StatusCode::kPermissionDenied:
      return EPERM;
    case absl::StatusCode::kNotFound:
      return ENOENT;
    case absl::StatusCode::kAlreadyExists:
      return EEXIST;
    case absl::StatusCode::kResourceExhausted:
      return ENOSPC;
    case absl::StatusCode::kUnimplemented:
      return ENOTSUP;
    case absl::StatusCode::kDeadlineExceeded:
      return ETIMEDOUT;
    case absl::StatusCode::kUnavailable:
      return ENOTCONN;
    default:
      return EIO;
  }
}

absl::Status WithErrno(absl::Status status, int error) {
  status.SetPayload(kErrnoPayload, absl::Cord(std::to_string(error)));
  return status;
}

std::optional<int> KeptErrno(const absl::Status& status) {
  const auto payload = status.GetPayload(kErrnoPayload);
  if (!payload.has_value()) return std::nullopt;
  const std::string text(*payload);
  int error = 0;
  const auto [end, result] = std::from_chars(text.data(), text.data() + text.size(), error);
  if (result != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return error;
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view what) {
  return WithErrno(absl::Status(CodeOf(error), fmt::format("{}: {}", what,
                                                           std::generic_category().message(error))),
                   error);
}

int ErrnoOf(const absl::Status& status) {
  if (status.ok()) return 0;  // Asked after each access to a mapped register.
  return KeptErrno(status).value_or(ErrnoOfCode(status.code()));
}

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(),
                         fmt::format("{}: {}", context, std::string(status.message())));
  const std::optional<int> error = KeptErrno(status);
  return error.has_value() ? WithErrno(annotated, *error) : annotated;
}

absl::Status WithCode(const absl::Status& status, absl::StatusCode code) {
  const absl::Status recoded(code, status.message());
  const std::optional<int> error = KeptErrno(status);
  return error.has_value() ? WithErrno(recoded, *error) : recoded;
}

}  // namespace vfio_user
