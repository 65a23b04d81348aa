// Early return on an error, for functions that return absl::Status or absl::StatusOr.
#ifndef PROTO_DEFS_BASE_STATUS_MACROS_H_
#define PROTO_DEFS_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Evaluates `expression`, an absl::Status, and returns it from the function unless it is OK.
#define VFIO_USER_RETURN_IF_ERROR(expression)            \
  do {                                                   \
    absl::Status vfio_user_status = (expression);        \
    if (!vfio_user_status.ok()) return vfio_user_status; \
  } while (false)

// Evaluates `expression`, an absl::StatusOr, and assigns its value to `target`, which may
// declare a variable; returns the status from the function unless it is OK.
#define VFIO_USER_ASSIGN_OR_RETURN(target, expression) \
  VFIO_USER_ASSIGN_OR_RETURN_IMPL(VFIO_USER_CONCAT(vfio_user_result_, __LINE__), target, expression)

#define VFIO_USER_ASSIGN_OR_RETURN_IMPL(result, target, expression) \
  auto result = (expression);                                       \
  if (!result.ok()) return std::move(result).status();              \
  target = *std::move(result)

#define VFIO_USER_CONCAT(a, b) VFIO_USER_CONCAT_IMPL(a, b)
#define VFIO_USER_CONCAT_IMPL(a, b) a##b

#endif  // PROTO_DEFS_BASE_STATUS_MACROS_H_
