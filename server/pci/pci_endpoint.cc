#include "server/pci/pci_endpoint.h"

#include <linux/pci_regs.h>

#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "server/interrupts/interrupt_types.h"
#include "server/pci/pci_layout.h"

namespace vfio_user {
namespace {

Masking MaskedIf(bool condition) { return condition ? Masking::kMasked : Masking::kUnmasked; }

// Vectors whose pending bits are in one word.
constexpr uint32_t kVectorsPerWord = 64;

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
  for (uint32_t vector = 0; vector < msi_vectors_; ++vector) {
    interrupts_.MaskVector(IrqIndex::kMsi, vector,
                           MaskedIf((config_.msi_mask() >> vector & 1) != 0));
  }
}

void PciEndpoint::ApplyTable(uint32_t first, uint32_t count) {
  for (uint32_t vector = first; vector < first + count; ++vector) {
    interrupts_.MaskVector(IrqIndex::kMsix, vector, msix_.mask(vector));
  }
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
  pending.resize(sizeof(uint64_t));
  ReadPendingBits(IrqIndex::kMsi, 0, pending);
  bytes.insert(bytes.end(), pending.begin(), pending.end());
  return bytes;
}

absl::Status PciEndpoint::Restore(std::span<const std::byte> config,
                                  std::span<const std::byte> interrupts) {
  std::span<const std::byte> pending;
  {
    MutexLock lock(mu_);
    const size_t table_bytes = msix_.saved_bytes();
    const size_t pending_bytes = MsixPendingBytes(msix_.vectors()) + sizeof(uint64_t);
    if (interrupts.size() != table_bytes + pending_bytes) {
      return absl::InvalidArgumentError(
          fmt::format("interrupts that were saved are {} bytes, want {}", interrupts.size(),
                      table_bytes + pending_bytes));
    }
    MsixTable table = msix_;
    VFIO_USER_RETURN_IF_ERROR(table.Restore(interrupts.first(table_bytes)));
    VFIO_USER_RETURN_IF_ERROR(config_.Restore(config));
    msix_ = std::move(table);
    ApplyConfig();
    ApplyTable(0, msix_.vectors());
    pending = interrupts.subspan(table_bytes);
  }
  // Not with the lock: one that no mask holds back any more is signalled.
  TriggerSaved(IrqIndex::kMsix, pending.first(pending.size() - sizeof(uint64_t)));
  TriggerSaved(IrqIndex::kMsi, pending.last(sizeof(uint64_t)));
  return absl::OkStatus();
}

void PciEndpoint::TriggerSaved(IrqIndex index, std::span<const std::byte> pending) {
  for (size_t bit = 0; bit < pending.size() * 8; ++bit) {
    if ((std::to_integer<unsigned>(pending[bit / 8]) >> (bit % 8) & 1) == 0) continue;
    interrupts_.Trigger(index, static_cast<uint32_t>(bit));
  }
}

}  // namespace vfio_user
