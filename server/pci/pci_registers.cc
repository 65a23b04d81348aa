#include "server/pci/pci_registers.h"

namespace vfio_user {

void PciRegisters::Read(size_t offset, std::span<std::byte> into) const {
  for (std::byte& byte : into) byte = std::byte{bytes_.at(offset++).value};
}

void PciRegisters::Write(size_t offset, std::span<const std::byte> from) {
  for (const std::byte written : from) {
    Byte& byte = bytes_.at(offset++);
    const auto ones = std::to_integer<uint8_t>(written);
    const auto kept = static_cast<uint8_t>(byte.value & ~byte.writable);
    byte.value =
        static_cast<uint8_t>((kept | (ones & byte.writable)) & ~(ones & byte.cleared_by_one));
  }
}

bool PciRegisters::Restore(std::span<const std::byte> values) {
  if (values.size() != bytes_.size()) return false;
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const int changed = std::to_integer<uint8_t>(values[i]) ^ bytes_[i].initial;
    if ((changed & ~(bytes_[i].writable | bytes_[i].cleared_by_one)) != 0) return false;
  }
  for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i].value = std::to_integer<uint8_t>(values[i]);
  return true;
}

void PciRegisters::Reset() {
  for (Byte& byte : bytes_) byte.value = byte.initial;
}

}  // namespace vfio_user
