// A UNIX socket in the file system, made by system calls alone.
#ifndef TESTS_TESTING_BOUND_SOCKET_H_
#define TESTS_TESTING_BOUND_SOCKET_H_

#include <sys/socket.h>

#include <string>

#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// A socket of `type` that is bound to `path`, and does not listen. Not valid when it cannot be.
// Closing it leaves the file: that is what a server leaves that was killed.
UniqueFd BoundSocket(const std::string& path, int type = SOCK_STREAM);

// A stream socket that listens at `path`, where `backlog` + 1 clients may wait.
UniqueFd ListeningSocket(const std::string& path, int backlog = 8);

// A stream socket that is connected to `path`; not valid when nobody listens there, or when too
// many wait already.
UniqueFd ConnectedSocket(const std::string& path);

}  // namespace vfio_user

#endif  // TESTS_TESTING_BOUND_SOCKET_H_
