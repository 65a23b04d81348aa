// A UNIX socket that waits for clients.
#ifndef PROTO_DEFS_TRANSPORT_LISTENER_H_
#define PROTO_DEFS_TRANSPORT_LISTENER_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// Owns the socket and its file, which its destructor removes (only if it is still the same file).
// Thread-compatible.
class Listener {
 public:
  // Listens at `path` with file permissions `mode`. A socket that is there already is removed if
  // nobody listens on it; AlreadyExists if somebody does, or if the path is something else. Of
  // several that start at one path together, one listens and the others get AlreadyExists.
  static absl::StatusOr<Listener> Bind(const std::string& path, mode_t mode = 0600);

  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  // The next client that waits, without blocking; nullopt when there is none, or when it went
  // away again. ResourceExhausted when no descriptor is left: it waits until there is one.
  absl::StatusOr<std::optional<Socket>> Accept();

  // Readable when a client waits.
  FdView fd() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  Listener(UniqueFd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

  UniqueFd fd_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_LISTENER_H_
