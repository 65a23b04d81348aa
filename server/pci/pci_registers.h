// Bytes of a config space, and what software may do to each of their bits.
#ifndef SERVER_PCI_PCI_REGISTERS_H_
#define SERVER_PCI_PCI_REGISTERS_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vfio_user {

// Reads have no effects, and a write changes the bits that it may, so that all there is to know of
// a bit is its value, what it is after power-on, and whether a write sets it or clears it. Sizing a
// BAR needs nothing more: its address bits below its size cannot be written.
//
// Registers are little endian. All offsets must be within size(). Pure; thread-compatible.
class PciRegisters {
 public:
  // All 0, and read only.
  explicit PciRegisters(size_t bytes) : bytes_(bytes) {}

  size_t size() const { return bytes_.size(); }

  // How it is after power-on, and now.
  template <std::unsigned_integral T>
  void Define(size_t offset, T value) {
    ForEachByte(offset, value, [](Byte& byte, uint8_t bits) { byte.initial = byte.value = bits; });
  }
  // Bits that take what is written, and no others of the register do.
  template <std::unsigned_integral T>
  void LetWrite(size_t offset, T bits) {
    ForEachByte(offset, bits, [](Byte& byte, uint8_t part) { byte.writable = part; });
  }
  // Bits that writing 1 clears, and no others of the register.
  template <std::unsigned_integral T>
  void LetClear(size_t offset, T bits) {
    ForEachByte(offset, bits, [](Byte& byte, uint8_t part) { byte.cleared_by_one = part; });
  }

  template <std::unsigned_integral T>
  T Get(size_t offset) const {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      value |= static_cast<T>(T{bytes_.at(offset + i).value} << (8 * i));
    }
    return value;
  }
  // What the hardware does, which may change every bit.
  template <std::unsigned_integral T>
  void Put(size_t offset, T value) {
    ForEachByte(offset, value, [](Byte& byte, uint8_t bits) { byte.value = bits; });
  }

  // What software does. Any length and alignment.
  void Read(size_t offset, std::span<std::byte> into) const;
  void Write(size_t offset, std::span<const std::byte> from);

  // Takes the values of all bytes. False, and no change, unless there are as many, and they differ
  // from how these are after power-on only where software can make them so.
  bool Restore(std::span<const std::byte> values);

  // Back to how they are after power-on.
  void Reset();

 private:
  struct Byte {
    uint8_t value = 0;
    uint8_t initial = 0;
    uint8_t writable = 0;
    uint8_t cleared_by_one = 0;
  };

  template <typename T, typename Change>
  void ForEachByte(size_t offset, T value, Change change) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      change(bytes_.at(offset + i), static_cast<uint8_t>(value >> (8 * i)));
    }
  }

  std::vector<Byte> bytes_;
};

}  // namespace vfio_user

#endif  // SERVER_PCI_PCI_REGISTERS_H_
