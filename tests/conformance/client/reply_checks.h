// What a client makes of the reply to each kind of request.
#ifndef TESTS_CONFORMANCE_CLIENT_REPLY_CHECKS_H_
#define TESTS_CONFORMANCE_CLIENT_REPLY_CHECKS_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

// Replies that are none: of another id, command, type or size.
std::vector<ClientCheck> BrokenReplyChecks();

// Replies that are fine, in spite of how or when they come: in pieces, with errors, late.
std::vector<ClientCheck> OddReplyChecks();
std::vector<ClientCheck> LateReplyChecks();

// A server that goes away, at each point of an exchange.
std::vector<ClientCheck> LostServerChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_REPLY_CHECKS_H_
