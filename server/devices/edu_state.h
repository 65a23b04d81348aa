// The state of edu, as bytes that go from one process to another.
#ifndef SERVER_DEVICES_EDU_STATE_H_
#define SERVER_DEVICES_EDU_STATE_H_

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "server/devices/edu_registers.h"

namespace vfio_user {

// A value. Little endian, without gaps:
//   version u32, 1 | liveness, factorial, status, interrupts u32 each |
//   DMA source, destination, count, command u64 each | the buffer
struct EduState {
  EduRegisters::State registers;
  std::array<std::byte, EduRegisters::kBufferBytes> buffer = {};

  // InvalidArgument for another length or version, and registers that no driver can bring about.
  static absl::StatusOr<EduState> Parse(std::span<const std::byte> bytes);
  std::vector<std::byte> Serialize() const;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_EDU_STATE_H_
