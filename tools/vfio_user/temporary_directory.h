// A directory for sockets and scratch files.
#ifndef TOOLS_VFIO_USER_TEMPORARY_DIRECTORY_H_
#define TOOLS_VFIO_USER_TEMPORARY_DIRECTORY_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace vfio_user {

// Removed with all that is in it when this goes out of scope. Movable. Thread-compatible.
class TemporaryDirectory {
 public:
  // In $TMPDIR, or in /tmp where that is not set or too long a path for sockets below it. Only
  // this user can enter it.
  static absl::StatusOr<TemporaryDirectory> Create();

  TemporaryDirectory(TemporaryDirectory&& other) noexcept
      : path_(std::exchange(other.path_, std::string())) {}
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory();

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}

  std::string path_;  // Empty when moved from.
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_TEMPORARY_DIRECTORY_H_
