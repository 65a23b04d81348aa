// How a check tells its outcome.
#ifndef TESTS_CONFORMANCE_SERVER_OUTCOME_H_
#define TESTS_CONFORMANCE_SERVER_OUTCOME_H_

#include <string_view>

#include "absl/status/status.h"
#include "tests/conformance/check.h"

namespace vfio_user {

// A check returns a status: OK when the server behaves, this when it lacks what the check is about
// ("the device has no interrupts"), and anything else when it does not behave.
absl::Status Skip(std::string_view why);

// The server misbehaved: what it did, and what is wanted of it.
absl::Status Misbehaved(std::string_view what);

// A failure with "<which>: " before its words, for checks that try several forms; others as they
// are.
absl::Status InCase(const absl::Status& status, std::string_view which);

// What such a status means.
CheckOutcome OutcomeOf(const absl::Status& status);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_OUTCOME_H_
