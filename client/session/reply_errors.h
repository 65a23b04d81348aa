// What a client says of a reply that is not what was asked for.
#ifndef CLIENT_SESSION_REPLY_ERRORS_H_
#define CLIENT_SESSION_REPLY_ERRORS_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "fmt/format.h"

namespace vfio_user {

inline absl::Status WrongEcho(std::string_view reply, std::string_view field, uint64_t got,
                              uint64_t want) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is {:#x}, want {:#x} as in the request", reply, field, got, want));
}

inline absl::Status AboveLimit(std::string_view reply, std::string_view field, uint64_t got,
                               uint64_t limit) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is {}, want at most {}", reply, field, got, limit));
}

inline absl::Status NoSuch(std::string_view what, uint32_t index, uint32_t count) {
  return absl::NotFoundError(
      fmt::format("the device has no {} {}: its {} are numbered from 0", what, index, count));
}

}  // namespace vfio_user

#endif  // CLIENT_SESSION_REPLY_ERRORS_H_
