// What a client makes of what a device says of itself.
#ifndef TESTS_CONFORMANCE_CLIENT_INFO_CHECKS_H_
#define TESTS_CONFORMANCE_CLIENT_INFO_CHECKS_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

// Counts, indexes, sizes.
std::vector<ClientCheck> InfoChecks();

// The list behind a region's 32 bytes.
std::vector<ClientCheck> RegionCapabilityChecks();

// What the replies to accesses and unmaps repeat of the request.
std::vector<ClientCheck> EchoChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_INFO_CHECKS_H_
