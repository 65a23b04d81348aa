// errno and absl::Status, both ways: a Status tells the caller what to do, the errno beside it is
// what the kernel or the peer said, and what goes back onto the wire.
#ifndef PROTO_DEFS_BASE_ERRNO_STATUS_H_
#define PROTO_DEFS_BASE_ERRNO_STATUS_H_

#include <string_view>

#include "absl/status/status.h"

namespace vfio_user {

// A status for `error`, an errno, that keeps the number: "<what>: <strerror>". `error` must not
// be 0. Most codes are absl's choice; where absl has only Internal or Unknown, or where this
// protocol means something else by the number, see the table in the source.
absl::Status ErrnoStatus(int error, std::string_view what);

// The errno that `status` carries, or the nearest one to its code. 0 for OK.
int ErrnoOf(const absl::Status& status);

// `status` with "<context>: " before its message, code and errno kept. OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// `status`, which must not be OK, with another code where the errno means something else than
// usual: message and errno kept.
absl::Status WithCode(const absl::Status& status, absl::StatusCode code);

}  // namespace vfio_user

#endif  // PROTO_DEFS_BASE_ERRNO_STATUS_H_
