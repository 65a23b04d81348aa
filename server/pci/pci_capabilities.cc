#include "server/pci/pci_capabilities.h"

#include <linux/pci_regs.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "server/interrupts/interrupt_types.h"

namespace vfio_user {
namespace {

// 1 to 32, 2^n of them, as the registers of MSI have them: n.
uint16_t Exponent(uint32_t vectors) { return static_cast<uint16_t>(std::countr_zero(vectors)); }

void DefinePowerManagement(size_t at, PciRegisters& registers) {
  registers.Define(at + PCI_PM_PMC, uint16_t{3});  // Version 1.2; no D1, no D2, no PME.
  registers.Define(at + PCI_PM_CTRL, uint16_t{PCI_PM_CTRL_NO_SOFT_RESET});
  registers.LetWrite(at + PCI_PM_CTRL, uint16_t{PCI_PM_CTRL_STATE_MASK});
}

void DefineMsi(const DeviceDescription& description, size_t at, PciRegisters& registers) {
  const uint32_t vectors = VectorCount(description, IrqIndex::kMsi);
  const uint16_t mask_bit = description.msi.per_vector_mask ? PCI_MSI_FLAGS_MASKBIT : 0;
  registers.Define(at + PCI_MSI_FLAGS,
                   static_cast<uint16_t>(PCI_MSI_FLAGS_64BIT | mask_bit | Exponent(vectors) << 1));
  registers.LetWrite(at + PCI_MSI_FLAGS, uint16_t{PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE});
  registers.LetWrite(at + PCI_MSI_ADDRESS_LO, uint32_t{0xfffffffc});
  registers.LetWrite(at + PCI_MSI_ADDRESS_HI, UINT32_MAX);
  registers.LetWrite(at + PCI_MSI_DATA_64, uint16_t{UINT16_MAX});
  if (!description.msi.per_vector_mask) return;
  registers.LetWrite(at + PCI_MSI_MASK_64, UINT32_MAX >> (32 - vectors));
}

void DefineMsix(const DeviceDescription& description, size_t at, PciRegisters& registers) {
  const uint32_t vectors = VectorCount(description, IrqIndex::kMsix);
  const auto bar = static_cast<uint32_t>(description.msix->bar);
  // The register has the number of the last vector.
  registers.Define(at + PCI_MSIX_FLAGS,
                   static_cast<uint16_t>((vectors - 1) & PCI_MSIX_FLAGS_QSIZE));
  registers.LetWrite(at + PCI_MSIX_FLAGS, uint16_t{PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL});
  registers.Define(at + PCI_MSIX_TABLE, description.msix->table_offset | bar);
  registers.Define(at + PCI_MSIX_PBA, description.msix->pba_offset | bar);
}

void DefineExpress(const PciExpressDescription& express, size_t at, PciRegisters& registers) {
  constexpr uint16_t kVersion = 2;
  registers.Define(at + PCI_EXP_FLAGS, uint16_t{kVersion | PCI_EXP_TYPE_ENDPOINT << 4});
  registers.Define(
      at + PCI_EXP_DEVCAP,
      uint32_t{PCI_EXP_DEVCAP_RBER} | (express.function_level_reset ? PCI_EXP_DEVCAP_FLR : 0u));
  // The reset bit is not writable: it always reads 0. See PciConfigSpace::Write.
  constexpr uint16_t kControl = PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE |
                                PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_RELAX_EN |
                                PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_NOSNOOP_EN |
                                PCI_EXP_DEVCTL_READRQ;
  registers.Define(
      at + PCI_EXP_DEVCTL,
      uint16_t{PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B});
  registers.LetWrite(at + PCI_EXP_DEVCTL, kControl);
  registers.LetClear(at + PCI_EXP_DEVSTA, uint16_t{PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED |
                                                   PCI_EXP_DEVSTA_FED | PCI_EXP_DEVSTA_URD});
  // The least of links, which there is not: 2.5 GT/s, one lane.
  registers.Define(at + PCI_EXP_LNKCAP, uint32_t{PCI_EXP_LNKCAP_SLS_2_5GB | 1 << 4});
  registers.LetWrite(at + PCI_EXP_LNKCTL, uint16_t{PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB |
                                                   PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES});
  registers.Define(at + PCI_EXP_LNKSTA, uint16_t{PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1});
  registers.Define(at + PCI_EXP_LNKCAP2, uint32_t{PCI_EXP_LNKCAP2_SLS_2_5GB});
  registers.Define(at + PCI_EXP_LNKCTL2, uint16_t{PCI_EXP_LNKCTL2_TLS_2_5GT});
}

void DefineContent(const CapabilityContent& content, size_t at, PciRegisters& registers) {
  for (size_t i = 0; i < content.bytes.size(); ++i) {
    registers.Define(at + i, content.bytes[i]);
    if (i < content.writable.size()) registers.LetWrite(at + i, content.writable[i]);
    if (i < content.cleared_by_one.size()) registers.LetClear(at + i, content.cleared_by_one[i]);
  }
}

// Puts capabilities into the list, each behind the one before.
class ListWriter {
 public:
  explicit ListWriter(PciRegisters& registers) : registers_(registers) {}

  void Append(size_t at, uint8_t id) {
    registers_.Define(link_, static_cast<uint8_t>(at));
    registers_.Define(at + PCI_CAP_LIST_ID, id);
    link_ = at + PCI_CAP_LIST_NEXT;
    registers_.Define(PCI_STATUS, uint16_t{PCI_STATUS_CAP_LIST});
  }

 private:
  PciRegisters& registers_;
  size_t link_ = PCI_CAPABILITY_LIST;
};

void DefineExtended(const DeviceDescription& description, const PciLayout& layout,
                    PciRegisters& registers) {
  for (size_t i = 0; i < layout.extended.size(); ++i) {
    const ExtendedCapabilityDescription& capability = description.extended_capabilities[i];
    const uint32_t version = capability.version;
    const size_t next = i + 1 < layout.extended.size() ? layout.extended[i + 1] : 0;
    // The first one is where the list begins: id, version in 4 bits, where the next one is in 12.
    registers.Define(layout.extended[i],
                     static_cast<uint32_t>(capability.id | version << 16 | next << 20));
    DefineContent(capability.content, layout.extended[i] + sizeof(uint32_t), registers);
  }
}

}  // namespace

void DefineCapabilities(const DeviceDescription& description, const PciLayout& layout,
                        PciRegisters& registers) {
  ListWriter list(registers);
  if (layout.power_management != 0) {
    list.Append(layout.power_management, PCI_CAP_ID_PM);
    DefinePowerManagement(layout.power_management, registers);
  }
  if (layout.msi != 0) {
    list.Append(layout.msi, PCI_CAP_ID_MSI);
    DefineMsi(description, layout.msi, registers);
  }
  if (layout.msix != 0) {
    list.Append(layout.msix, PCI_CAP_ID_MSIX);
    DefineMsix(description, layout.msix, registers);
  }
  if (layout.express != 0) {
    list.Append(layout.express, PCI_CAP_ID_EXP);
    DefineExpress(*description.express, layout.express, registers);
  }
  for (size_t i = 0; i < layout.vendor.size(); ++i) {
    const CapabilityContent& content = description.vendor_capabilities[i];
    list.Append(layout.vendor[i], PCI_CAP_ID_VNDR);
    const size_t header = PCI_CAP_FLAGS + sizeof(uint8_t);
    registers.Define(layout.vendor[i] + PCI_CAP_FLAGS,
                     static_cast<uint8_t>(header + content.bytes.size()));
    DefineContent(content, layout.vendor[i] + header, registers);
  }
  DefineExtended(description, layout, registers);
}

}  // namespace vfio_user
