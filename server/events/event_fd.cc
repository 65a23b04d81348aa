#include "server/events/event_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {
namespace {

// What the kernel says that a descriptor names.
absl::StatusOr<std::string> TargetOf(const UniqueFd& fd) {
  const std::string link = fmt::format("/proc/self/fd/{}", fd.get());
  std::array<char, 64> target;
  const ssize_t length = ::readlink(link.c_str(), target.data(), target.size());
  if (length < 0) return ErrnoStatus(errno, link);
  return std::string(target.data(), static_cast<size_t>(length));
}

}  // namespace

absl::StatusOr<EventFd> EventFd::Adopt(UniqueFd fd) {
  const absl::StatusOr<std::string> target = TargetOf(fd);
  // By the name, because there is no test by behaviour that is harmless to other kinds of file.
  if (!target.ok()) return target.status();
  if (*target != "anon_inode:[eventfd]") {
    return absl::InvalidArgumentError(
        fmt::format("the descriptor is {}, want an eventfd", *target));
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0) return ErrnoStatus(errno, "F_GETFL");
  return EventFd(std::move(fd), (flags & O_NONBLOCK) != 0);
}

absl::StatusOr<EventFd> EventFd::Create() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, "eventfd");
  return EventFd(std::move(fd), true);
}

std::optional<uint64_t> EventFd::id() const {
  std::ifstream info(fmt::format("/proc/self/fdinfo/{}", fd_.get()));
  std::string key;
  while (info >> key) {
    uint64_t id = 0;
    if (key == "eventfd-id:" && info >> id) return id;
  }
  return std::nullopt;
}

void EventFd::Signal() const {
  if (!nonblocking_) {
    pollfd entry = {.fd = fd_.get(), .events = POLLOUT, .revents = 0};
    if (::poll(&entry, 1, 0) == 0) return;
  }
  const uint64_t one = 1;
  // EAGAIN is the counter at its maximum; a signal cannot interrupt what does not wait.
  (void)!::write(fd_.get(), &one, sizeof(one));
}

uint64_t EventFd::Take() const {
  uint64_t counter = 0;
  iovec part = {.iov_base = &counter, .iov_len = sizeof(counter)};
  (void)!::preadv2(fd_.get(), &part, 1, -1, RWF_NOWAIT);
  return counter;
}

}  // namespace vfio_user
