#include "server/pci/msix_table.h"

#include <linux/pci_regs.h>

#include <algorithm>

#include "server/pci/pci_layout.h"

namespace vfio_user {
namespace {

bool Within(uint64_t offset, uint64_t begin, uint64_t end) {
  return offset >= begin && offset < end;
}

}  // namespace

MsixPlacement::MsixPlacement(const DeviceDescription& description) {
  if (!description.msix.has_value()) return;
  const SparseArea table = MsixTableArea(description);
  const SparseArea pending = MsixPendingArea(description);
  bar_ = description.msix->bar;
  table_ = table.offset;
  table_end_ = table.offset + table.size;
  pending_ = pending.offset;
  pending_end_ = pending.offset + pending.size;
}

MsixPiece MsixPlacement::FirstPiece(RegionIndex bar, uint64_t offset, size_t bytes) const {
  MsixPiece piece = {.of = MsixPiece::Of::kDevice, .offset = offset, .bytes = bytes};
  if (bar != bar_) return piece;
  for (const uint64_t border : {table_, table_end_, pending_, pending_end_}) {
    if (border <= offset) continue;
    piece.bytes = static_cast<size_t>(std::min<uint64_t>(piece.bytes, border - offset));
  }
  if (Within(offset, table_, table_end_)) {
    piece.of = MsixPiece::Of::kTable;
    piece.offset -= table_;
  } else if (Within(offset, pending_, pending_end_)) {
    piece.of = MsixPiece::Of::kPendingBits;
    piece.offset -= pending_;
  }
  return piece;
}

MsixTable::MsixTable(const DeviceDescription& description)
    : entries_(VectorCount(description, IrqIndex::kMsix) * PCI_MSIX_ENTRY_SIZE),
      used_(VectorCount(description, IrqIndex::kMsix)) {
  for (size_t at = 0; at < entries_.size(); at += PCI_MSIX_ENTRY_SIZE) {
    entries_.LetWrite(at + PCI_MSIX_ENTRY_LOWER_ADDR, uint32_t{0xfffffffc});
    entries_.LetWrite(at + PCI_MSIX_ENTRY_UPPER_ADDR, UINT32_MAX);
    entries_.LetWrite(at + PCI_MSIX_ENTRY_DATA, UINT32_MAX);
    entries_.Define(at + PCI_MSIX_ENTRY_VECTOR_CTRL, uint32_t{PCI_MSIX_ENTRY_CTRL_MASKBIT});
    entries_.LetWrite(at + PCI_MSIX_ENTRY_VECTOR_CTRL, uint32_t{PCI_MSIX_ENTRY_CTRL_MASKBIT});
  }
}

void MsixTable::Write(size_t offset, std::span<const std::byte> from) {
  entries_.Write(offset, from);
  for (size_t at = offset; at < offset + from.size(); ++at) {
    if (at % PCI_MSIX_ENTRY_SIZE >= PCI_MSIX_ENTRY_VECTOR_CTRL)
      used_[at / PCI_MSIX_ENTRY_SIZE] = true;
  }
}

Masking MsixTable::mask(uint32_t vector) const {
  const size_t control = size_t{vector} * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;
  const bool masked = (entries_.Get<uint32_t>(control) & PCI_MSIX_ENTRY_CTRL_MASKBIT) != 0;
  return masked && used_[vector] ? Masking::kMasked : Masking::kUnmasked;
}

void MsixTable::Reset() {
  entries_.Reset();
  ForgetUse();
}

void MsixTable::ForgetUse() { std::fill(used_.begin(), used_.end(), false); }

std::vector<std::byte> MsixTable::Save() const {
  std::vector<std::byte> bytes(entries_.size());
  entries_.Read(0, bytes);
  for (const bool used : used_) bytes.push_back(std::byte{used});
  return bytes;
}

absl::Status MsixTable::Restore(std::span<const std::byte> saved) {
  if (saved.size() != saved_bytes() || !entries_.Restore(saved.first(entries_.size()))) {
    return absl::InvalidArgumentError("the MSI-X table that was saved is another device's");
  }
  const std::span<const std::byte> used = saved.subspan(entries_.size());
  for (size_t i = 0; i < used_.size(); ++i) used_[i] = used[i] != std::byte{0};
  return absl::OkStatus();
}

}  // namespace vfio_user
