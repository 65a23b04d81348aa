// What a client makes of the replies to DEVICE_FEATURE.
#ifndef TESTS_CONFORMANCE_CLIENT_FEATURE_CHECKS_H_
#define TESTS_CONFORMANCE_CLIENT_FEATURE_CHECKS_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

std::vector<ClientCheck> FeatureChecks();

// The log of what a device writes: how it starts, and what it reports.
std::vector<ClientCheck> DirtyLogChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_FEATURE_CHECKS_H_
