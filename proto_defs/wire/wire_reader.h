// Bytes to numbers, bounds checked, in host byte order as the protocol has them.
#ifndef PROTO_DEFS_WIRE_WIRE_READER_H_
#define PROTO_DEFS_WIRE_WIRE_READER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"

namespace vfio_user {

// Reads fields one after the other from `bytes`, which are borrowed. A read past the end yields 0
// and is remembered; one Finish at the end of a Parse reports it. Thread-compatible.
class WireReader {
 public:
  explicit WireReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  explicit WireReader(std::span<const std::byte> bytes)
      : bytes_(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()) {}

  template <typename T>
  T Read() {
    static_assert(std::is_integral_v<T>, "wire fields are integers");
    T value = 0;
    const std::span<const uint8_t> field = Take(sizeof(T));
    if (!field.empty()) std::memcpy(&value, field.data(), sizeof(T));
    return value;
  }

  // Leaves `count` bytes unread: padding and reserved fields.
  void Skip(size_t count) { Take(count); }

  // The next `count` bytes, borrowed from the input; empty when they are not all there.
  std::span<const uint8_t> Take(size_t count);

  // All that is left, borrowed from the input.
  std::span<const uint8_t> TakeRest() { return Take(remaining()); }

  size_t remaining() const { return wanted_ > bytes_.size() ? 0 : bytes_.size() - wanted_; }

  // InvalidArgument unless exactly the bytes that are there were read: "DMA_MAP: body is 31 bytes,
  // want 32".
  absl::Status Finish(std::string_view message) const;

  // The same for a body that may be longer than what its reader knows of.
  absl::Status FinishPrefix(std::string_view message) const;

 private:
  std::span<const uint8_t> bytes_;
  // Bytes asked for so far; more than bytes_ has when a read went past the end.
  size_t wanted_ = 0;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_WIRE_READER_H_
