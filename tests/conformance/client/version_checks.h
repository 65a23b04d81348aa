// What a client makes of the server's part in VERSION.
#ifndef TESTS_CONFORMANCE_CLIENT_VERSION_CHECKS_H_
#define TESTS_CONFORMANCE_CLIENT_VERSION_CHECKS_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

// The reply as a message: its header, its version, its descriptors, when it comes.
std::vector<ClientCheck> VersionChecks();

// The capabilities in it.
std::vector<ClientCheck> CapabilityChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_VERSION_CHECKS_H_
