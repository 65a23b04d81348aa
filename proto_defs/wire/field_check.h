// The checks that many messages share, so that they refuse in the same words. All return
// InvalidArgument, EINVAL on the wire. Pure.
#ifndef PROTO_DEFS_WIRE_FIELD_CHECK_H_
#define PROTO_DEFS_WIRE_FIELD_CHECK_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace vfio_user {

// A range of bytes in a message, and what its fields are called there.
struct RangeField {
  std::string_view start_name;
  uint64_t start = 0;
  std::string_view length_name;
  uint64_t length = 0;  // In bytes.
};

// "DMA_MAP: argsz is 31, want at least 32".
absl::Status CheckArgsz(std::string_view message, uint32_t argsz, uint64_t at_least);

// "DMA_MAP: flags are 0x13, want only bits of 0xf".
absl::Status UnknownFlags(std::string_view message, uint32_t flags, uint32_t known);

// OK unless the range passes 2^64 - 1; an empty range is OK.
absl::Status CheckNoWrap(std::string_view message, const RangeField& range);

// The same, and the range must not be empty.
absl::Status CheckRange(std::string_view message, const RangeField& range);

// "DMA_LOGGING_START: page_size is 0x1001, want a power of two".
absl::Status CheckPageSize(std::string_view message, uint64_t page_size);

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_FIELD_CHECK_H_
