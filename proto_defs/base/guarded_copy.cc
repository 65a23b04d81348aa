#include "proto_defs/base/guarded_copy.h"

#include <fcntl.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/status/status.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {
namespace {

// process_vm_readv() or process_vm_writev(): one of the two ends is "remote", and guarded.
using VmCall = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long,
                           unsigned long);

class Pipe {
 public:
  // Does not block: how much a pipe holds is the system's business, and a full one is seen as a
  // short count.
  Pipe() : error_(::pipe2(ends_.data(), O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : errno) {}
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    if (error_ != 0) return;
    ::close(ends_[0]);
    ::close(ends_[1]);
  }

  int error() const { return error_; }
  ssize_t Read(std::byte* into, size_t bytes) { return ::read(ends_[0], into, bytes); }
  ssize_t Write(const std::byte* from, size_t bytes) { return ::write(ends_[1], from, bytes); }

 private:
  std::array<int, 2> ends_ = {-1, -1};
  const int error_;
};

absl::Status CopyError(int error) { return ErrnoStatus(error, "copying memory of this process"); }

// Any process may use a pipe, whatever its sandbox, and the kernel's copies into and out of it
// look at page protections.
absl::Status CopyThroughPipe(const std::byte* from, std::byte* to, size_t bytes) {
  Pipe pipe;
  if (pipe.error() != 0) return CopyError(pipe.error());
  while (bytes > 0) {
    const ssize_t written = pipe.Write(from, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return CopyError(errno);
    from += written;
    bytes -= static_cast<size_t>(written);
    for (ssize_t left = written; left > 0;) {
      const ssize_t read = pipe.Read(to, static_cast<size_t>(left));
      if (read < 0 && errno == EINTR) continue;
      if (read < 0) return CopyError(errno);
      to += read;
      left -= read;
    }
  }
  return absl::OkStatus();
}

// How many bytes the kernel copied before it came to some that it would not.
size_t CopyByKernel(VmCall call, iovec local, iovec remote) {
  const size_t bytes = local.iov_len;
  size_t done = 0;
  while (done < bytes) {
    local.iov_len = remote.iov_len = bytes - done;
    const ssize_t copied = call(::getpid(), &local, 1, &remote, 1, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied <= 0) break;
    local.iov_base = static_cast<std::byte*>(local.iov_base) + copied;
    remote.iov_base = static_cast<std::byte*>(remote.iov_base) + copied;
    done += static_cast<size_t>(copied);
  }
  return done;
}

}  // namespace

absl::Status GuardedRead(const std::byte* from, std::span<std::byte> into) {
  const iovec local = {.iov_base = into.data(), .iov_len = into.size()};
  // An iovec has no const form; the call only reads from its remote end.
  const iovec remote = {.iov_base = const_cast<std::byte*>(from), .iov_len = into.size()};
  const size_t done = CopyByKernel(::process_vm_readv, local, remote);
  if (done == into.size()) return absl::OkStatus();
  return CopyThroughPipe(from + done, into.data() + done, into.size() - done);
}

absl::Status GuardedWrite(std::span<const std::byte> from, std::byte* to) {
  const iovec local = {.iov_base = const_cast<std::byte*>(from.data()), .iov_len = from.size()};
  const iovec remote = {.iov_base = to, .iov_len = from.size()};
  const size_t done = CopyByKernel(::process_vm_writev, local, remote);
  if (done == from.size()) return absl::OkStatus();
  return CopyThroughPipe(from.data() + done, to + done, from.size() - done);
}

}  // namespace vfio_user
