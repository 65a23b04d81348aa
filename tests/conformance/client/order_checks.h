// What a client makes of several things at once, and of the order of things.
#ifndef TESTS_CONFORMANCE_CLIENT_ORDER_CHECKS_H_
#define TESTS_CONFORMANCE_CLIENT_ORDER_CHECKS_H_

#include <vector>

#include "tests/conformance/client/client_check.h"

namespace vfio_user {

// Several requests under way, whose replies come in an order of the server's.
std::vector<ClientCheck> ParallelChecks();

// Commands around the life of a mapping: before, during and after mapping and unmapping.
std::vector<ClientCheck> LifetimeChecks();

// Two sockets of one connection, and a connection after another.
std::vector<ClientCheck> ConnectionChecks();

// Vectors, and the eventfds that a server was given.
std::vector<ClientCheck> InterruptChecks();

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_ORDER_CHECKS_H_
