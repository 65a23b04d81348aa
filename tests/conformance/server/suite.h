// All checks of servers.
#ifndef TESTS_CONFORMANCE_SERVER_SUITE_H_
#define TESTS_CONFORMANCE_SERVER_SUITE_H_

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/conformance/server/server_check.h"

namespace vfio_user {

// In the order in which they are to be run: what a later one builds on comes first. Those whose
// name starts with `prefix`.
std::vector<ServerCheck> ServerChecks(std::string_view prefix = "");

// What the server at the options' socket can do. An error: no check can begin.
absl::StatusOr<ServerTraits> DiscoverTraits(const SuiteOptions& options);

// Whether the server at the options' socket takes a client: to be asked after a check that failed,
// so that a server that died of it is not asked everything else too.
absl::Status StillServes(const SuiteOptions& options);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_SUITE_H_
