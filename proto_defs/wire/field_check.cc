#include "proto_defs/wire/field_check.h"

#include <bit>

#include "absl/status/status.h"
#include "fmt/format.h"

namespace vfio_user {

absl::Status CheckArgsz(std::string_view message, uint32_t argsz, uint64_t at_least) {
  if (argsz >= at_least) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: argsz is {}, want at least {}", message, argsz, at_least));
}

absl::Status UnknownFlags(std::string_view message, uint32_t flags, uint32_t known) {
  return absl::InvalidArgumentError(
      fmt::format("{}: flags are {:#x}, want only bits of {:#x}", message, flags, known));
}

absl::Status CheckNoWrap(std::string_view message, const RangeField& range) {
  if (range.length == 0 || range.length - 1 <= UINT64_MAX - range.start) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: {} {:#x} with {} {:#x} passes 2^64 - 1",
                                                message, range.start_name, range.start,
                                                range.length_name, range.length));
}

absl::Status CheckRange(std::string_view message, const RangeField& range) {
  if (range.length != 0) return CheckNoWrap(message, range);
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is 0, want at least 1", message, range.length_name));
}

absl::Status CheckPageSize(std::string_view message, uint64_t page_size) {
  if (std::has_single_bit(page_size)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: page_size is {:#x}, want a power of two", message, page_size));
}

}  // namespace vfio_user
