// What a client makes of the shorter ways to a device: mapped regions, doorbells, posted writes.
#ifndef TESTS_CONFORMANCE_CLIENT_DEVICE_MEMORY_CHECKS_H_
#define TESTS_CONFORMANCE_CLIENT_DEVICE_MEMORY_CHECKS_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

// Files that a server offers as a region's memory.
std::vector<ClientCheck> MappedRegionChecks();

// Eventfds, and other things, that it offers as doorbells.
std::vector<ClientCheck> DoorbellChecks();

// Writes that are not waited for one by one.
std::vector<ClientCheck> ManyWritesChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_DEVICE_MEMORY_CHECKS_H_
