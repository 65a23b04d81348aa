// The bytes of config space, which is little endian on every machine.
#ifndef CLIENT_PCI_BYTES_H_
#define CLIENT_PCI_BYTES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vfio_user {

// Borrowed. Bytes beyond the end read as 0.
class PciBytes {
 public:
  explicit PciBytes(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint8_t Byte(size_t offset) const { return static_cast<uint8_t>(Read(offset, 1)); }
  uint16_t Word(size_t offset) const { return static_cast<uint16_t>(Read(offset, 2)); }
  uint32_t Long(size_t offset) const { return Read(offset, 4); }

  size_t size() const { return bytes_.size(); }
  // At most `bytes` from the start.
  PciBytes First(size_t bytes) const {
    return PciBytes(bytes_.first(std::min(bytes, bytes_.size())));
  }

 private:
  uint32_t Read(size_t offset, size_t width) const {
    uint32_t value = 0;
    for (size_t i = 0; i < width && offset + i < bytes_.size(); ++i) {
      value |= static_cast<uint32_t>(bytes_[offset + i]) << (8 * i);
    }
    return value;
  }

  std::span<const std::byte> bytes_;
};

}  // namespace vfio_user

#endif  // CLIENT_PCI_BYTES_H_
