// What a test says of bytes that are refused.
#ifndef PROTO_DEFS_WIRE_INVALID_ARGUMENT_MATCHER_H_
#define PROTO_DEFS_WIRE_INVALID_ARGUMENT_MATCHER_H_

#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {

// An absl::Status or absl::StatusOr that is InvalidArgument with `part` in its message.
inline auto IsInvalidArgument(const std::string& part) {
  return StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr(part));
}

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_INVALID_ARGUMENT_MATCHER_H_
