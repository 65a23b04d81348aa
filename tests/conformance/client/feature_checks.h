// What a client makes of the replies to DEVICE_FEATURE, and to what belongs to features.
#ifndef TESTS_CONFORMANCE_CLIENT_FEATURE_CHECKS_H_
#define TESTS_CONFORMANCE_CLIENT_FEATURE_CHECKS_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

std::vector<ClientCheck> FeatureChecks();

// The log of what a device writes: how it starts, and what it reports.
std::vector<ClientCheck> DirtyLogChecks();
// The same where memory is unmapped: the bitmap in the reply to DMA_UNMAP.
std::vector<ClientCheck> UnmapReportChecks();

// MIG_DATA_READ, beyond what the checks of all kinds of requests do to its replies.
std::vector<ClientCheck> MigrationChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_FEATURE_CHECKS_H_
