#include "server/pci/pci_endpoint.h"

#include <linux/pci_regs.h>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "server/interrupts/interrupt_types.h"
#include "server/pci/pci_layout.h"

namespace vfio_user {
namespace {

Masking MaskedIf(bool condition) { return condition ? Masking::kMasked : Masking::kUnmasked; }

// Vectors whose pending bits are in one word.
constexpr uint32_t kVectorsPerWord = 64;

// Of a saved state: a bit for each vector that MSI can have, and room.
constexpr size_t kMsiPendingBytes = sizeof(uint64_t);

}  // namespace

PciEndpoint::PciEndpoint(Device& device, InterruptTable& interrupts, ClientDmaSpace& dma)
    : device_(device),
      interrupts_(interrupts),
      dma_(dma),
      msix_place_(device.description()),
      msi_vectors_(VectorCount(device.description(), IrqIndex::kMsi)),
      config_(device.description()),
      msix_(device.description()) {
  MutexLock lock(mu_);
  ApplyConfig();
}

absl::Status PciEndpoint::Read(RegionIndex region, uint64_t offset, std::span<std::byte> into) {
  if (region == RegionIndex::kConfig) {
    ReadConfig(offset, into);
    return absl::OkStatus();
  }
  while (!into.empty()) {
    const MsixPiece piece = msix_place_.FirstPiece(region, offset, into.size());
    const std::span<std::byte> part = into.first(piece.bytes);
    switch (piece.of) {
      case MsixPiece::Of::kDevice:
        VFIO_USER_RETURN_IF_ERROR(device_.ReadRegion(region, piece.offset, part));
        break;
      case MsixPiece::Of::kTable:
        ReadTable(piece.offset, part);
        break;
      case MsixPiece::Of::kPendingBits:
        ReadPendingBits(IrqIndex::kMsix, piece.offset, part);
        break;
    }
    offset += piece.bytes;
    into = into.subspan(piece.bytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<PciWriteEffect> PciEndpoint::Write(RegionIndex region, uint64_t offset,
                                                  std::span<const std::byte> from) {
  if (region == RegionIndex::kConfig) return WriteConfig(offset, from);
  while (!from.empty()) {
    const MsixPiece piece = msix_place_.FirstPiece(region, offset, from.size());
    const std::span<const std::byte> part = from.first(piece.bytes);
    switch (piece.of) {
      case MsixPiece::Of::kDevice:
        VFIO_USER_RETURN_IF_ERROR(device_.WriteRegion(region, piece.offset, part));
        break;
      case MsixPiece::Of::kTable:
        WriteTable(piece.offset, part);
        break;
      case MsixPiece::Of::kPendingBits:
        break;  // Read only.
    }
    offset += piece.bytes;
    from = from.subspan(piece.bytes);
  }
  return PciWriteEffect::kNone;
}

void PciEndpoint::ReadConfig(uint64_t offset, std::span<std::byte> into) {
  MutexLock lock(mu_);
  config_.ShowIntx(interrupts_.line());
  config_.ShowMsiPending(static_cast<uint32_t>(interrupts_.Pending(IrqIndex::kMsi, 0)));
  config_.Read(offset, into);
}

PciWriteEffect PciEndpoint::WriteConfig(uint64_t offset, std::span<const std::byte> from) {
  MutexLock lock(mu_);
  const PciWriteEffect effect = config_.Write(offset, from);
  ApplyConfig();
  return effect;
}

void PciEndpoint::ReadTable(uint64_t offset, std::span<std::byte> into) {
  MutexLock lock(mu_);
  msix_.Read(offset, into);
}

void PciEndpoint::WriteTable(uint64_t offset, std::span<const std::byte> from) {
  const auto first = static_cast<uint32_t>(offset / PCI_MSIX_ENTRY_SIZE);
  const auto last = static_cast<uint32_t>((offset + from.size() - 1) / PCI_MSIX_ENTRY_SIZE);
  MutexLock lock(mu_);
  msix_.Write(offset, from);
  ApplyTable(first, last - first + 1);
}

void PciEndpoint::ReadPendingBits(IrqIndex index, uint64_t offset,
                                  std::span<std::byte> into) const {
  for (std::byte& byte : into) {
    const auto word = static_cast<uint32_t>(offset / sizeof(uint64_t));
    const uint64_t bits = interrupts_.Pending(index, word * kVectorsPerWord);
    byte = static_cast<std::byte>(bits >> (8 * (offset % sizeof(uint64_t))));
    ++offset;
  }
}

void PciEndpoint::ApplyConfig() {
  dma_.SwitchBusMastering(config_.may_master() ? BusMastering::kOn : BusMastering::kOff);
  interrupts_.MaskType(IrqIndex::kIntx, MaskedIf(config_.intx_disabled()));
  interrupts_.MaskType(IrqIndex::kMsix, MaskedIf(config_.msix_masked()));
  std::vector<Masking> masks(msi_vectors_);
  for (uint32_t vector = 0; vector < msi_vectors_; ++vector) {
    masks[vector] = MaskedIf((config_.msi_mask() >> vector & 1) != 0);
  }
  interrupts_.MaskVectors(IrqIndex::kMsi, 0, masks);
}

void PciEndpoint::ApplyTable(uint32_t first, uint32_t count) {
  std::vector<Masking> masks(count);
  for (uint32_t i = 0; i < count; ++i) masks[i] = msix_.mask(first + i);
  interrupts_.MaskVectors(IrqIndex::kMsix, first, masks);
}

IrqIndex PciEndpoint::enabled_interrupts() const {
  MutexLock lock(mu_);
  if (config_.msix_enabled() || interrupts_.bound(IrqIndex::kMsix)) return IrqIndex::kMsix;
  if (config_.msi_enabled() || interrupts_.bound(IrqIndex::kMsi)) return IrqIndex::kMsi;
  return IrqIndex::kIntx;
}

void PciEndpoint::Reset() {
  MutexLock lock(mu_);
  config_.Reset();
  msix_.Reset();
  interrupts_.Reset();
  ApplyConfig();
}

void PciEndpoint::ClientGone() {
  MutexLock lock(mu_);
  msix_.ForgetUse();
  ApplyTable(0, msix_.vectors());
}

std::vector<std::byte> PciEndpoint::SaveConfig() const {
  MutexLock lock(mu_);
  return config_.Save();
}

std::vector<std::byte> PciEndpoint::SaveInterrupts() const {
  MutexLock lock(mu_);
  std::vector<std::byte> bytes = msix_.Save();
  std::vector<std::byte> pending(MsixPendingBytes(msix_.vectors()));
  ReadPendingBits(IrqIndex::kMsix, 0, pending);
  bytes.insert(bytes.end(), pending.begin(), pending.end());
  pending.resize(kMsiPendingBytes);
  ReadPendingBits(IrqIndex::kMsi, 0, pending);
  bytes.insert(bytes.end(), pending.begin(), pending.end());
  return bytes;
}

absl::Status PciEndpoint::CheckSaved(std::span<const std::byte> config,
                                     std::span<const std::byte> interrupts) const {
  MutexLock lock(mu_);
  const size_t want = msix_.saved_bytes() + MsixPendingBytes(msix_.vectors()) + kMsiPendingBytes;
  if (interrupts.size() != want) {
    return absl::InvalidArgumentError(
        fmt::format("interrupts that were saved are {} bytes, want {}", interrupts.size(), want));
  }
  MsixTable table = msix_;
  VFIO_USER_RETURN_IF_ERROR(table.Restore(interrupts.first(msix_.saved_bytes())));
  PciConfigSpace space = config_;
  return space.Restore(config);
}

void PciEndpoint::Restore(std::span<const std::byte> config,
                          std::span<const std::byte> interrupts) {
  MutexLock lock(mu_);
  (void)config_.Restore(config);
  (void)msix_.Restore(interrupts.first(msix_.saved_bytes()));
  ApplyConfig();
  ApplyTable(0, msix_.vectors());
  // After the masks, which hold back some of them.
  const std::span<const std::byte> pending = interrupts.subspan(msix_.saved_bytes());
  interrupts_.RestorePending(IrqIndex::kMsix, pending.first(pending.size() - kMsiPendingBytes));
  interrupts_.RestorePending(IrqIndex::kMsi, pending.last(kMsiPendingBytes));
}

}  // namespace vfio_user
