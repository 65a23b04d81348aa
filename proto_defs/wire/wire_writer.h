// Numbers to bytes, in host byte order as the protocol has them.
#ifndef PROTO_DEFS_WIRE_WIRE_WRITER_H_
#define PROTO_DEFS_WIRE_WIRE_WRITER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace vfio_user {

// Appends to `out`, which is borrowed. A caller on a hot path keeps and clears its vector, so that
// nothing is allocated after the first message. Thread-compatible.
class WireWriter {
 public:
  explicit WireWriter(std::vector<uint8_t>& out) : out_(out) {}

  // The type is named at the call, because it is the width of the field.
  template <typename T>
  void Write(std::type_identity_t<T> value) {
    static_assert(std::is_integral_v<T>, "wire fields are integers");
    std::array<uint8_t, sizeof(T)> bytes;
    std::memcpy(bytes.data(), &value, sizeof(T));
    WriteBytes(bytes);
  }

  void WriteBytes(std::span<const uint8_t> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  void WriteBytes(std::span<const std::byte> bytes) {
    WriteBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }

  void WriteZeros(size_t count) { out_.resize(out_.size() + count); }

 private:
  std::vector<uint8_t>& out_;
};

// What nearly all bodies of requests fit in, so that they take one allocation.
inline constexpr size_t kUsualBodyBytes = 64;

// The bytes of one message body.
template <typename Message>
std::vector<uint8_t> Serialize(const Message& message) {
  std::vector<uint8_t> bytes;
  bytes.reserve(kUsualBodyBytes);
  WireWriter out(bytes);
  message.AppendTo(out);
  return bytes;
}

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_WIRE_WRITER_H_
