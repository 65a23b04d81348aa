#include "server/devices/edu_registers.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace vfio_user {
namespace {

static_assert(std::endian::native == std::endian::little,
              "registers are copied as they lie in memory");

enum RegisterOffset : uint64_t {
  kIdentification = 0x00,
  kLiveness = 0x04,
  kFactorial = 0x08,
  kStatus = 0x20,
  kInterruptStatus = 0x24,
  kInterruptRaise = 0x60,
  kInterruptAcknowledge = 0x64,
  kDmaSource = 0x80,
  kDmaDestination = 0x88,
  kDmaCount = 0x90,
  kDmaCommand = 0x98,
};

constexpr uint32_t kIdentificationValue = 0x010000ed;

constexpr uint32_t kStatusComputing = 0x01;
constexpr uint32_t kStatusInterrupt = 0x80;

constexpr uint64_t kDmaStart = 1;
constexpr uint64_t kDmaToMemory = 2;
constexpr uint64_t kDmaInterrupt = 4;

constexpr uint32_t kFactorialInterrupt = 0x1;
constexpr uint32_t kTransferInterrupt = 0x100;

// The registers from here on can also be accessed with 8 bytes.
constexpr uint64_t kFirstWide = 0x80;

bool HasShape(uint64_t offset, size_t bytes) {
  return bytes == 4 || (bytes == 8 && offset >= kFirstWide);
}

}  // namespace

void EduRegisters::Read(uint64_t offset, std::span<std::byte> into) const {
  std::ranges::fill(into, std::byte{0xff});
  if (!HasShape(offset, into.size())) return;
  const uint64_t value = ReadRegister(offset);
  std::memcpy(into.data(), &value, into.size());
}

void EduRegisters::Write(uint64_t offset, std::span<const std::byte> from) {
  if (!HasShape(offset, from.size())) return;
  // 4 bytes written to a register of 8 are all of its value.
  uint64_t value = 0;
  std::memcpy(&value, from.data(), from.size());
  WriteRegister(offset, value);
}

uint64_t EduRegisters::ReadRegister(uint64_t offset) const {
  switch (offset) {
    case kIdentification:
      return kIdentificationValue;
    case kLiveness:
      return state_.liveness;
    case kFactorial:
      return state_.factorial;
    case kStatus:
      return state_.status;
    case kInterruptStatus:
      return state_.interrupts;
    case kDmaSource:
      return state_.dma_source;
    case kDmaDestination:
      return state_.dma_destination;
    case kDmaCount:
      return state_.dma_count;
    case kDmaCommand:
      return state_.dma_command;
    default:
      return UINT64_MAX;
  }
}

void EduRegisters::WriteRegister(uint64_t offset, uint64_t value) {
  if (offset >= kFirstWide) return WriteDma(offset, value);
  const auto word = static_cast<uint32_t>(value);
  switch (offset) {
    case kLiveness:
      state_.liveness = ~word;
      return;
    case kFactorial:
      if (computing()) return;
      state_.factorial = word;
      state_.status |= kStatusComputing;
      return;
    case kStatus:
      return WriteStatus(word);
    case kInterruptRaise:
      return Raise(word);
    case kInterruptAcknowledge:
      state_.interrupts &= ~word;
      return;
    default:
      return;
  }
}

void EduRegisters::WriteStatus(uint32_t value) {
  state_.status = (state_.status & ~kStatusInterrupt) | (value & kStatusInterrupt);
}

void EduRegisters::WriteDma(uint64_t offset, uint64_t value) {
  if (transferring()) return;
  switch (offset) {
    case kDmaSource:
      state_.dma_source = value;
      return;
    case kDmaDestination:
      state_.dma_destination = value;
      return;
    case kDmaCount:
      state_.dma_count = value;
      return;
    case kDmaCommand:
      if ((value & kDmaStart) != 0) state_.dma_command = value;
      return;
    default:
      return;
  }
}

bool EduRegisters::computing() const { return (state_.status & kStatusComputing) != 0; }

void EduRegisters::FinishFactorial(uint32_t result) {
  state_.factorial = result;
  state_.status &= ~kStatusComputing;
  if ((state_.status & kStatusInterrupt) != 0) Raise(kFactorialInterrupt);
}

bool EduRegisters::transferring() const { return (state_.dma_command & kDmaStart) != 0; }

EduTransfer EduRegisters::transfer() const {
  EduTransfer transfer;
  transfer.to_memory = (state_.dma_command & kDmaToMemory) != 0;
  const uint64_t memory = transfer.to_memory ? state_.dma_destination : state_.dma_source;
  const uint64_t buffer = transfer.to_memory ? state_.dma_source : state_.dma_destination;
  transfer.memory = Iova{memory & dma_mask_};
  if (buffer < kBufferAddress || buffer - kBufferAddress > kBufferBytes) return transfer;
  transfer.buffer_offset = buffer - kBufferAddress;
  if (state_.dma_count <= kBufferBytes - transfer.buffer_offset) transfer.bytes = state_.dma_count;
  return transfer;
}

void EduRegisters::FinishTransfer() {
  state_.dma_command &= ~kDmaStart;
  if ((state_.dma_command & kDmaInterrupt) != 0) Raise(kTransferInterrupt);
}

void EduRegisters::Raise(uint32_t interrupts) {
  state_.interrupts |= interrupts;
  if (interrupting()) raised_ = true;
}

bool EduRegisters::TakeRaised() { return std::exchange(raised_, false); }

bool EduRegisters::IsValid(const State& state) {
  return (state.status & ~(kStatusComputing | kStatusInterrupt)) == 0;
}

void EduRegisters::Restore(const State& state) {
  state_ = state;
  raised_ = interrupting();
}

}  // namespace vfio_user
