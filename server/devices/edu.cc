#include "server/devices/edu.h"

#include <algorithm>

#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "server/devices/edu_state.h"

namespace vfio_user {
namespace {

// Modulo 2^32. Once that is 0 it stays so: what a client asks for takes 34 steps at most.
uint32_t Factorial(uint32_t n) {
  uint32_t result = 1;
  for (; n > 1 && result != 0; --n) result *= n;
  return result;
}

}  // namespace

EduDevice::EduDevice(uint64_t dma_mask) : registers_(dma_mask) {
  description_.name = "edu";
  description_.pci = {.vendor_id = 0x1234,
                      .device_id = 0x11e8,
                      .subsystem_vendor_id = 0x1af4,
                      .subsystem_id = 0x1100,  // Both as QEMU's devices have them.
                      .class_code = 0x00ff00,
                      .revision = 0x10};
  description_.bars = {{.index = RegionIndex::kBar0, .size = kBarBytes}};
  description_.irqs = {{.index = IrqIndex::kIntx, .count = 1},
                       {.index = IrqIndex::kMsi, .count = 1}};
}

absl::Status EduDevice::ReadRegion(RegionIndex, uint64_t offset, std::span<std::byte> data) {
  MutexLock lock(mu_);
  registers_.Read(offset, data);
  return absl::OkStatus();
}

absl::Status EduDevice::WriteRegion(RegionIndex, uint64_t offset, std::span<const std::byte> data) {
  MutexLock lock(mu_);
  const bool interrupting = registers_.interrupting();
  registers_.Write(offset, data);
  // At once: a driver acknowledges, and then has INTx unmasked, which would signal a line that is
  // still up. Taking the line down signals nobody, and so does not block with the lock held.
  if (interrupting && !registers_.interrupting()) host_->SetIntx(IntxLine::kDown);
  PostIfNeeded();
  return absl::OkStatus();
}

void EduDevice::Reset() {
  buffer_.fill(std::byte{0});
  MutexLock lock(mu_);
  registers_.Reset();
  host_->SetIntx(IntxLine::kDown);
}

void EduDevice::Pause() {
  MutexLock lock(mu_);
  paused_ = true;
}

void EduDevice::Resume() {
  MutexLock lock(mu_);
  paused_ = false;
  PostIfNeeded();
}

absl::StatusOr<std::vector<std::byte>> EduDevice::Save() {
  EduState state;
  state.buffer = buffer_;
  MutexLock lock(mu_);
  state.registers = registers_.state();
  return state.Serialize();
}

absl::Status EduDevice::Restore(std::span<const std::byte> bytes) {
  VFIO_USER_ASSIGN_OR_RETURN(const EduState state, EduState::Parse(bytes));
  buffer_ = state.buffer;
  MutexLock lock(mu_);
  registers_.Restore(state.registers);
  // A line that is to be up is put there when the device goes on.
  if (!registers_.interrupting()) host_->SetIntx(IntxLine::kDown);
  return absl::OkStatus();
}

void EduDevice::PostIfNeeded() {
  if (posted_ || paused_) return;
  if (!registers_.computing() && !registers_.transferring() && !registers_.raised()) return;
  posted_ = true;
  host_->Post([this] { Work(); });
}

void EduDevice::Work() {
  {
    MutexLock lock(mu_);
    posted_ = false;
  }
  Compute();
  SendInterrupt();
  Transfer();
  SendInterrupt();
}

void EduDevice::Compute() {
  MutexLock lock(mu_);
  if (paused_ || !registers_.computing()) return;
  registers_.FinishFactorial(Factorial(registers_.factorial()));
}

void EduDevice::Transfer() {
  EduTransfer transfer;
  {
    MutexLock lock(mu_);
    if (paused_ || !registers_.transferring()) return;
    transfer = registers_.transfer();
  }
  const auto in_buffer = std::span(buffer_).subspan(transfer.buffer_offset, transfer.bytes);
  // Whether it succeeds is not for the driver to see.
  if (transfer.to_memory) {
    (void)host_->dma().Write(transfer.memory, in_buffer);
  } else {
    std::array<std::byte, EduRegisters::kBufferBytes> read;
    const std::span<std::byte> bytes = std::span(read).first(transfer.bytes);
    // Apart, because one that fails in the middle is to change nothing.
    if (host_->dma().Read(transfer.memory, bytes).ok()) std::ranges::copy(bytes, in_buffer.begin());
  }
  MutexLock lock(mu_);
  registers_.FinishTransfer();
}

void EduDevice::SendInterrupt() {
  {
    MutexLock lock(mu_);
    if (paused_ || !registers_.TakeRaised()) return;
  }
  // Without the lock: a client can make a signal block, and register accesses must go on.
  if (host_->enabled_interrupts() == IrqIndex::kMsi) {
    host_->TriggerInterrupt(IrqIndex::kMsi, 0);
    return;
  }
  host_->SetIntx(IntxLine::kUp);
  // What was acknowledged meanwhile found the line down.
  MutexLock lock(mu_);
  if (!registers_.interrupting()) host_->SetIntx(IntxLine::kDown);
}

}  // namespace vfio_user
