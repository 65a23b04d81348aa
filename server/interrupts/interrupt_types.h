// What holds for a type of interrupts, whatever the device.
#ifndef SERVER_INTERRUPTS_INTERRUPT_TYPES_H_
#define SERVER_INTERRUPTS_INTERRUPT_TYPES_H_

#include <cstdint>

#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "server/device.h"

namespace vfio_user {

enum class Masking { kUnmasked, kMasked };

// What GET_IRQ_INFO says of a type that the device has.
constexpr IrqInfoFlags InterruptFlags(IrqIndex index) {
  switch (index) {
    case IrqIndex::kIntx:
      return IrqInfoFlags(IrqInfoFlag::kEventfd) | IrqInfoFlag::kMaskable |
             IrqInfoFlag::kAutomasked;
    case IrqIndex::kMsi:
    case IrqIndex::kMsix:
      return IrqInfoFlags(IrqInfoFlag::kEventfd) | IrqInfoFlag::kMaskable;
    default:
      return IrqInfoFlag::kEventfd;
  }
}

// The vectors of a type, 0 without it.
inline uint32_t VectorCount(const DeviceDescription& description, IrqIndex index) {
  for (const IrqDescription& irq : description.irqs) {
    if (irq.index == index) return irq.count;
  }
  return 0;
}

}  // namespace vfio_user

#endif  // SERVER_INTERRUPTS_INTERRUPT_TYPES_H_
