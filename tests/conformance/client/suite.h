// All checks of clients.
#ifndef TESTS_CONFORMANCE_CLIENT_SUITE_H_
#define TESTS_CONFORMANCE_CLIENT_SUITE_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

// In the order in which they are reported; names are unique.
std::vector<ClientCheck> AllClientChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_SUITE_H_
