// Owners and borrowers of file descriptors.
#ifndef PROTO_DEFS_TRANSPORT_UNIQUE_FD_H_
#define PROTO_DEFS_TRANSPORT_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace vfio_user {

// Owns one descriptor, or none (-1), and closes it. Thread-compatible.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  // Gives the descriptor away: the caller closes it.
  int Release() { return std::exchange(fd_, -1); }

  void Reset(int fd = -1) {
    const int old = std::exchange(fd_, fd);
    if (old >= 0) ::close(old);
  }

 private:
  int fd_ = -1;
};

// A descriptor that somebody else owns and keeps open for as long as this is used: what
// std::string_view is to a string.
class FdView {
 public:
  FdView(const UniqueFd& fd) : fd_(fd.get()) {}  // NOLINT: a view of an owner.
  explicit FdView(int fd) : fd_(fd) {}

  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_UNIQUE_FD_H_
