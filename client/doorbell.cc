#include "client/doorbell.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// KVM_IOEVENTFD_FLAG_DATAMATCH of <linux/kvm.h>, whose flags these are: only one value rings.
constexpr uint32_t kDatamatch = 1;

absl::StatusOr<bool> IsEventfd(const UniqueFd& fd) {
  std::array<char, 64> name = {};
  const std::string link = fmt::format("/proc/self/fd/{}", fd.get());
  const ssize_t bytes = ::readlink(link.c_str(), name.data(), name.size());
  if (bytes < 0) return ErrnoStatus(errno, fmt::format("reading {}", link));
  return std::string_view(name.data(), static_cast<size_t>(bytes)) == "anon_inode:[eventfd]";
}

}  // namespace

Doorbell::Doorbell(std::shared_ptr<Session> session, UniqueFd eventfd, const IoFdEntry& entry)
    : session_(std::move(session)), eventfd_(std::move(eventfd)), entry_(entry) {
  const int flags = ::fcntl(eventfd_.get(), F_GETFL);
  nonblocking_ = flags >= 0 && (flags & O_NONBLOCK) != 0;
}

absl::StatusOr<Doorbell> Doorbell::Create(std::shared_ptr<Session> session, UniqueFd eventfd,
                                          const IoFdEntry& entry) {
  // Writing to something else might wait for ever, or do anything.
  VFIO_USER_ASSIGN_OR_RETURN(const bool is_eventfd, IsEventfd(eventfd));
  if (!is_eventfd) {
    return session->CloseBroken(absl::InvalidArgumentError(
        fmt::format("the descriptor of the doorbell at {:#x} is no eventfd", entry.offset)));
  }
  return Doorbell(std::move(session), std::move(eventfd), entry);
}

std::optional<uint64_t> Doorbell::value() const {
  if ((entry_.flags & kDatamatch) == 0) return std::nullopt;
  return entry_.value;
}

absl::Status Doorbell::Ring(uint64_t times) const {
  if (session_ == nullptr) return absl::FailedPreconditionError("this doorbell was moved from");
  if (times == 0 || times == UINT64_MAX) {
    return absl::InvalidArgumentError(fmt::format("ringing {} times, want 1 to 2^64 - 2", times));
  }
  VFIO_USER_RETURN_IF_ERROR(session_->CheckProcess());
  // The eventfd is the server's, and may be one that blocks; this thread is not to wait in it for a
  // server that does not look. What may still block is a ring of more than the counter holds.
  pollfd entry = {.fd = eventfd_.get(), .events = POLLOUT, .revents = 0};
  const bool room = nonblocking_ || (::poll(&entry, 1, 0) == 1 && (entry.revents & POLLOUT) != 0);
  if (room && ::write(eventfd_.get(), &times, sizeof(times)) == sizeof(times)) {
    return absl::OkStatus();
  }
  if (!room || errno == EAGAIN) {
    return absl::ResourceExhaustedError(fmt::format(
        "the device has left too many rings of the doorbell at {:#x} unheard", entry_.offset));
  }
  return ErrnoStatus(errno, "ringing a doorbell");
}

}  // namespace vfio_user
