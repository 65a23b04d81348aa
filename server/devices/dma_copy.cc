#include "server/devices/dma_copy.h"

#include <algorithm>
#include <array>
#include <vector>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr uint64_t kStatusOffset = 0x20;
constexpr uint64_t kErrnoOffset = 0x24;  // The result follows.

constexpr uint32_t kStateVersion = 1;

constexpr uint32_t kStatusDone = 1;
constexpr uint32_t kStatusFailed = 2;

Iova At(Iova descriptor, uint64_t offset) { return Iova{ToU64(descriptor) + offset}; }

}  // namespace

DmaCopyDevice::DmaCopyDevice() {
  description_.name = "dma-copy";
  description_.pci = {.vendor_id = 0x1234,
                      .device_id = 0xdc01,
                      .subsystem_vendor_id = 0x1234,
                      .subsystem_id = 0xdc01,
                      .class_code = 0x088000,  // System peripheral, other.
                      .revision = 1};
  description_.bars = {{.index = RegionIndex::kBar0,
                        .size = kBarBytes,
                        .doorbells = {{.offset = DmaCopyRegisters::kKickOffset, .size = 4}}},
                       {.index = RegionIndex::kBar1, .size = kBarBytes}};
  description_.irqs = {{.index = IrqIndex::kMsix, .count = 1}};
  description_.power_management = true;
  description_.msix = {.bar = RegionIndex::kBar1, .table_offset = 0, .pba_offset = 0x800};
  description_.express = PciExpressDescription();
}

absl::Status DmaCopyDevice::ReadRegion(RegionIndex index, uint64_t offset,
                                       std::span<std::byte> data) {
  if (index == RegionIndex::kBar1) {
    msix_.Read(offset, data);
    return absl::OkStatus();
  }
  MutexLock lock(mu_);
  return registers_.Read(offset, data);
}

absl::Status DmaCopyDevice::WriteRegion(RegionIndex index, uint64_t offset,
                                        std::span<const std::byte> data) {
  if (index == RegionIndex::kBar1) {
    msix_.Write(offset, data);
    return absl::OkStatus();
  }
  MutexLock lock(mu_);
  VFIO_USER_RETURN_IF_ERROR(registers_.Write(offset, data));
  RunIfBusy();
  return absl::OkStatus();
}

void DmaCopyDevice::RingDoorbell(RegionIndex, uint64_t, uint64_t count) {
  MutexLock lock(mu_);
  if (registers_.Kick(count).ok()) RunIfBusy();
}

void DmaCopyDevice::RunIfBusy() {
  if (!registers_.busy() || running_ || paused_) return;
  running_ = true;
  host_->Post([this] { RunRing(); });
}

void DmaCopyDevice::Reset() {
  msix_.Clear();
  MutexLock lock(mu_);
  registers_ = DmaCopyRegisters();
}

void DmaCopyDevice::Pause() {
  MutexLock lock(mu_);
  paused_ = true;
}

void DmaCopyDevice::Resume() {
  MutexLock lock(mu_);
  paused_ = false;
  RunIfBusy();
}

// version u32 @0 | registers @4 | BAR1 after them
absl::StatusOr<std::vector<std::byte>> DmaCopyDevice::Save() {
  std::vector<uint8_t> state;
  WireWriter out(state);
  out.Write<uint32_t>(kStateVersion);
  {
    MutexLock lock(mu_);
    registers_.AppendTo(out);
  }
  std::vector<std::byte> bytes(state.size() + kBarBytes);
  std::ranges::copy(std::as_bytes(std::span(state)), bytes.begin());
  msix_.Read(0, std::span(bytes).subspan(state.size()));
  return bytes;
}

absl::Status DmaCopyDevice::Restore(std::span<const std::byte> state) {
  WireReader in(state);
  const auto version = in.Read<uint32_t>();
  const absl::StatusOr<DmaCopyRegisters> registers = DmaCopyRegisters::Parse(in);
  const std::span<const uint8_t> msix = in.Take(kBarBytes);
  VFIO_USER_RETURN_IF_ERROR(in.Finish("dma-copy state"));
  if (version != kStateVersion) {
    return absl::InvalidArgumentError(
        fmt::format("dma-copy state: version is {}, want {}", version, kStateVersion));
  }
  VFIO_USER_RETURN_IF_ERROR(registers.status());
  msix_.Write(0, std::as_bytes(msix));
  MutexLock lock(mu_);
  registers_ = *registers;
  return absl::OkStatus();
}

void DmaCopyDevice::RunRing() {
  while (const std::optional<Iova> at = NextDescriptor()) {
    RunDescriptor(*at);
  }
}

std::optional<Iova> DmaCopyDevice::NextDescriptor() {
  MutexLock lock(mu_);
  const std::optional<Iova> next = paused_ ? std::nullopt : registers_.NextDescriptor();
  running_ = next.has_value();
  return next;
}

void DmaCopyDevice::RunDescriptor(Iova at) {
  std::array<uint8_t, DmaCopyDescriptor::kBytes> bytes;
  const absl::Status read =
      host_->dma().Read(at, std::as_writable_bytes(std::span<uint8_t>(bytes)));
  DmaCopyDescriptor descriptor;
  if (read.ok()) {
    descriptor = DmaCopyDescriptor::Parse(bytes);
    Report(at, engine_.Run(descriptor, host_->dma()));
  }
  {
    MutexLock lock(mu_);
    registers_.Advance();
  }
  if (descriptor.interrupts()) host_->TriggerInterrupt(IrqIndex::kMsix, 0);
}

void DmaCopyDevice::Report(Iova at, const absl::StatusOr<uint64_t>& result) {
  std::vector<uint8_t> bytes;
  WireWriter out(bytes);
  out.Write<uint32_t>(static_cast<uint32_t>(ErrnoOf(result.status())));
  out.Write<uint64_t>(result.ok() ? *result : 0);
  const uint32_t status = result.ok() ? kStatusDone : kStatusFailed;
  // Two transfers, because the bytes of one may become visible in any order. Where the first fails,
  // the second would promise what is not there.
  if (!host_->dma().Write(At(at, kErrnoOffset), std::as_bytes(std::span(bytes))).ok()) return;
  (void)host_->dma().Write(At(at, kStatusOffset), std::as_bytes(std::span(&status, 1)));
}

}  // namespace vfio_user
