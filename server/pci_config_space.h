// The configuration space of a PCI device, run from its description.
#ifndef SERVER_PCI_CONFIG_SPACE_H_
#define SERVER_PCI_CONFIG_SPACE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "server/device.h"

namespace vfio_user {

// 256 bytes: a type 0 header and the capabilities that the description calls for. Reads have no
// effects, and a write changes the bits that software may change, so that all there is to know is
// two bits per bit: its value, and whether it can be written. Sizing a BAR needs nothing more: its
// address bits below its size cannot be written.
//
// Pure. Thread-compatible.
class PciConfigSpace {
 public:
  static constexpr size_t kBytes = 256;

  // The description must have passed CheckDescription.
  explicit PciConfigSpace(const DeviceDescription& description);

  // The range must be within kBytes; any length and alignment.
  void Read(size_t offset, std::span<std::byte> into) const;
  void Write(size_t offset, std::span<const std::byte> from);

  // Back to the state after power-on.
  void Reset() { value_ = initial_; }

 private:
  void AddHeader(const DeviceDescription& description);
  void AddBar(const BarDescription& bar);
  void AddMsix(const MsixDescription& msix, uint32_t vectors);

  void Set8(size_t offset, uint8_t value);
  void Set16(size_t offset, uint16_t value);
  void Set32(size_t offset, uint32_t value);
  void LetWrite16(size_t offset, uint16_t bits);
  void LetWrite32(size_t offset, uint32_t bits);

  std::array<uint8_t, kBytes> initial_ = {};
  std::array<uint8_t, kBytes> writable_ = {};
  std::array<uint8_t, kBytes> value_ = {};
};

}  // namespace vfio_user

#endif  // SERVER_PCI_CONFIG_SPACE_H_
