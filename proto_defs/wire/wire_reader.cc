#include "proto_defs/wire/wire_reader.h"

#include <limits>

#include "absl/status/status.h"
#include "fmt/format.h"

namespace vfio_user {

std::span<const uint8_t> WireReader::Take(size_t count) {
  const size_t start = wanted_;
  // Saturates, so that a huge count cannot make a later read look in bounds.
  wanted_ = count > std::numeric_limits<size_t>::max() - start ? std::numeric_limits<size_t>::max()
                                                               : start + count;
  if (wanted_ > bytes_.size()) return {};
  return bytes_.subspan(start, count);
}

absl::Status WireReader::Finish(std::string_view message) const {
  if (bytes_.size() == wanted_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: body is {} bytes, want {}", message, bytes_.size(), wanted_));
}

absl::Status WireReader::FinishPrefix(std::string_view message) const {
  if (bytes_.size() >= wanted_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: body is {} bytes, want at least {}", message, bytes_.size(), wanted_));
}

}  // namespace vfio_user
