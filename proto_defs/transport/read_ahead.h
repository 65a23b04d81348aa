// Bytes of a message stream that were received before anybody asked for them.
#ifndef PROTO_DEFS_TRANSPORT_READ_AHEAD_H_
#define PROTO_DEFS_TRANSPORT_READ_AHEAD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// Holds what one recvmsg() brought: the rest of no message, then whole messages, then perhaps the
// beginning of one. Thread-compatible.
class ReadAhead {
 public:
  // Holds any message with few arguments, header and body. A longer body is received where it is
  // wanted; only what of it came along with its header is copied from here.
  static constexpr size_t kCapacity = 256;

  bool empty() const { return begin_ == end_; }
  size_t size() const { return end_ - begin_; }

  // Where to receive to, the first byte being a message's first. Only while empty.
  std::span<uint8_t> Room() { return bytes_; }

  // Says that `bytes` bytes of Room() were received, and `fds` with them. The kernel ends a receive
  // with the send that carries descriptors, and a message that has some has a send of its own
  // (every known peer's, and proto_defs/README.md): so they are the last message's of those that
  // begin here.
  void Fill(size_t bytes, std::vector<UniqueFd> fds);

  // Moves the next bytes out, as many as there are and fit.
  size_t Take(std::span<uint8_t> into);

  // The descriptors of the message that begins at the next byte.
  std::vector<UniqueFd> TakeFds();

 private:
  size_t LastMessage() const;

  std::array<uint8_t, kCapacity> bytes_{};
  size_t begin_ = 0;
  size_t end_ = 0;
  std::vector<UniqueFd> fds_;
  size_t fds_at_ = 0;  // Where the message begins that they came with.
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_READ_AHEAD_H_
