// What a test says of bytes that are refused.
#ifndef PROTO_DEFS_WIRE_INVALID_ARGUMENT_MATCHER_H_
#define PROTO_DEFS_WIRE_INVALID_ARGUMENT_MATCHER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"

namespace vfio_user {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}

// An absl::Status or absl::StatusOr that is InvalidArgument with `part` in its message.
MATCHER_P(IsInvalidArgument, part, "is InvalidArgument and says " + std::string(part)) {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString();
  return status.code() == absl::StatusCode::kInvalidArgument &&
         std::string(status.message()).find(part) != std::string::npos;
}

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_INVALID_ARGUMENT_MATCHER_H_
