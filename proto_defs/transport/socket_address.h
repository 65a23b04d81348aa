// The address of a UNIX socket in the file system.
#ifndef PROTO_DEFS_TRANSPORT_SOCKET_ADDRESS_H_
#define PROTO_DEFS_TRANSPORT_SOCKET_ADDRESS_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace vfio_user {

class SocketAddress {
 public:
  // InvalidArgument for an empty path, for one of more than 107 bytes, which is what the kernel's
  // structure holds, and for one with a NUL, which would be cut short or name no file at all.
  static absl::StatusOr<SocketAddress> Of(const std::string& path);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t length() const { return sizeof(address_); }
  const std::string& path() const { return path_; }

  // What connect() meant by `error` at this address, and what to do about it.
  absl::Status ConnectError(int error) const;

 private:
  SocketAddress() = default;

  std::string path_;
  sockaddr_un address_ = {};
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_SOCKET_ADDRESS_H_
