// The registers in BAR0 of edu, as edu.h describes them.
#ifndef SERVER_DEVICES_EDU_REGISTERS_H_
#define SERVER_DEVICES_EDU_REGISTERS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "proto_defs/wire/iova.h"

namespace vfio_user {

// What the DMA engine has been told to do.
struct EduTransfer {
  Iova memory{};               // The DMA mask has been applied.
  uint64_t buffer_offset = 0;  // Within the buffer, as are the bytes.
  uint64_t bytes = 0;          // 0 for a transfer that would leave the buffer: it moves nothing.
  bool to_memory = false;      // From the buffer; else into it.
};

// Pure: what a write sets going is to be looked for afterwards. Thread-compatible.
class EduRegisters {
 public:
  static constexpr uint64_t kBufferAddress = 0x40000;
  static constexpr uint64_t kBufferBytes = 4096;
  // 28 bits.
  static constexpr uint64_t kUsualDmaMask = (uint64_t{1} << 28) - 1;

  explicit EduRegisters(uint64_t dma_mask) : dma_mask_(dma_mask) {}

  // Any offset and length: those that are no register's read as all ones and are not written.
  void Read(uint64_t offset, std::span<std::byte> into) const;
  void Write(uint64_t offset, std::span<const std::byte> from);

  // A factorial is to be computed, of what the register was written.
  bool computing() const;
  uint32_t factorial() const { return state_.factorial; }
  void FinishFactorial(uint32_t result);

  // A transfer is to be made; it stays the same until it is finished.
  bool transferring() const;
  EduTransfer transfer() const;
  void FinishTransfer();

  // Whether an interrupt is raised and not acknowledged: the level of INTx.
  bool interrupting() const { return state_.interrupts != 0; }
  // Whether an interrupt is to be sent: something was raised since it was last taken.
  bool raised() const { return raised_; }
  bool TakeRaised();

  // All there is to save. Values that a driver can bring about, and no others, are valid.
  struct State {
    uint32_t liveness = 0;
    uint32_t factorial = 0;
    uint32_t status = 0;
    uint32_t interrupts = 0;
    uint64_t dma_source = 0;
    uint64_t dma_destination = 0;
    uint64_t dma_count = 0;
    uint64_t dma_command = 0;

    friend bool operator==(const State&, const State&) = default;
  };
  const State& state() const { return state_; }
  static bool IsValid(const State& state);
  // What is raised then counts as raised now: its interrupt may not have been sent.
  void Restore(const State& state);

  // Back to the state after power-on.
  void Reset() { Restore(State()); }

 private:
  uint64_t ReadRegister(uint64_t offset) const;
  void WriteRegister(uint64_t offset, uint64_t value);
  void WriteStatus(uint32_t value);
  void WriteDma(uint64_t offset, uint64_t value);
  void Raise(uint32_t interrupts);

  uint64_t dma_mask_;
  State state_;
  bool raised_ = false;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_EDU_REGISTERS_H_
