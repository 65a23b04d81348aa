// What a client makes of the server's commands.
#ifndef TESTS_CONFORMANCE_CLIENT_DMA_CHECKS_H_
#define TESTS_CONFORMANCE_CLIENT_DMA_CHECKS_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

// Accesses to memory that is lent, and to what is not; commands that a client does not serve.
std::vector<ClientCheck> DmaChecks();

// Commands that are no messages, or come in pieces, or cross with replies.
std::vector<ClientCheck> DmaFramingChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_DMA_CHECKS_H_
