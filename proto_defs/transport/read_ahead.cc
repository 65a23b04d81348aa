#include "proto_defs/transport/read_ahead.h"

#include <algorithm>
#include <utility>

#include "proto_defs/wire/header.h"

namespace vfio_user {

void ReadAhead::Fill(size_t bytes, std::vector<UniqueFd> fds) {
  begin_ = 0;
  end_ = bytes;
  fds_ = std::move(fds);
  fds_at_ = fds_.empty() ? 0 : LastMessage();
}

size_t ReadAhead::LastMessage() const {
  size_t at = 0;
  while (end_ - at >= kHeaderBytes) {
    const auto header = MessageHeader::Parse(std::span(bytes_).subspan(at).first<kHeaderBytes>());
    // Nothing is known of what follows a size that cannot be, or that leaves nothing to follow.
    if (header.msg_size < kHeaderBytes || header.msg_size >= end_ - at) break;
    at += header.msg_size;
  }
  return at;
}

size_t ReadAhead::Take(std::span<uint8_t> into) {
  const size_t bytes = std::min(into.size(), end_ - begin_);
  std::copy_n(bytes_.data() + begin_, bytes, into.data());
  begin_ += bytes;
  return bytes;
}

std::vector<UniqueFd> ReadAhead::TakeFds() {
  if (begin_ != fds_at_) return {};
  return std::exchange(fds_, {});
}

}  // namespace vfio_user
