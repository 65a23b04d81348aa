#include "tests/testing/bound_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

namespace vfio_user {
namespace {

// All zeros, and so the unnamed address, when `path` does not fit.
sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() < sizeof(address.sun_path)) {
    std::memcpy(address.sun_path, path.c_str(), path.size());
  }
  return address;
}

}  // namespace

UniqueFd BoundSocket(const std::string& path, int type) {
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const sockaddr_un address = AddressOf(path);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    socket.Reset();
  }
  return socket;
}

UniqueFd ListeningSocket(const std::string& path, int backlog) {
  UniqueFd socket = BoundSocket(path);
  if (::listen(socket.get(), backlog) != 0) socket.Reset();
  return socket;
}

UniqueFd ConnectedSocket(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_un address = AddressOf(path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    socket.Reset();
  }
  return socket;
}

}  // namespace vfio_user
