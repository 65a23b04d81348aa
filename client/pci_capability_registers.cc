#include "client/pci_capability_registers.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstdint>

namespace vfio_user {
namespace {

// Up to the device control and status registers, which even the oldest have.
constexpr size_t kPciExpressBytes = PCI_EXP_DEVSTA + 2;
constexpr size_t kExtendedHeaderBytes = 4;

MsixCapability DecodeMsix(PciBytes space, size_t at) {
  const uint16_t flags = space.Word(at + PCI_MSIX_FLAGS);
  const uint32_t table = space.Long(at + PCI_MSIX_TABLE);
  const uint32_t pba = space.Long(at + PCI_MSIX_PBA);
  return {.enabled = (flags & PCI_MSIX_FLAGS_ENABLE) != 0,
          .function_masked = (flags & PCI_MSIX_FLAGS_MASKALL) != 0,
          .vectors = (flags & uint32_t{PCI_MSIX_FLAGS_QSIZE}) + 1,
          .table_bar = RegionIndex{table & uint32_t{PCI_MSIX_TABLE_BIR}},
          .table_offset = table & uint32_t{PCI_MSIX_TABLE_OFFSET},
          .pba_bar = RegionIndex{pba & uint32_t{PCI_MSIX_PBA_BIR}},
          .pba_offset = pba & uint32_t{PCI_MSIX_PBA_OFFSET}};
}

size_t MsiBytes(PciBytes space, size_t at) {
  const uint16_t flags = space.Word(at + PCI_MSI_FLAGS);
  const bool wide = (flags & PCI_MSI_FLAGS_64BIT) != 0;
  if ((flags & PCI_MSI_FLAGS_MASKBIT) != 0) {
    return (wide ? PCI_MSI_PENDING_64 : PCI_MSI_PENDING_32) + size_t{4};
  }
  return (wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32) + size_t{2};
}

MsiCapability DecodeMsi(PciBytes space, size_t at) {
  const uint16_t flags = space.Word(at + PCI_MSI_FLAGS);
  MsiCapability out = {.enabled = (flags & PCI_MSI_FLAGS_ENABLE) != 0,
                       .vectors = 1u << ((flags & PCI_MSI_FLAGS_QMASK) >> 1),
                       .enabled_vectors = 1u << ((flags & PCI_MSI_FLAGS_QSIZE) >> 4),
                       .wide_address = (flags & PCI_MSI_FLAGS_64BIT) != 0,
                       .maskable = (flags & PCI_MSI_FLAGS_MASKBIT) != 0,
                       .address = space.Long(at + PCI_MSI_ADDRESS_LO),
                       .data = space.Word(at + PCI_MSI_DATA_32)};
  if (out.wide_address) {
    out.address |= uint64_t{space.Long(at + PCI_MSI_ADDRESS_HI)} << 32;
    out.data = space.Word(at + PCI_MSI_DATA_64);
  }
  return out;
}

PowerCapability DecodePower(PciBytes space, size_t at) {
  const uint16_t can = space.Word(at + PCI_PM_PMC);
  const uint16_t control = space.Word(at + PCI_PM_CTRL);
  return {.version = static_cast<uint8_t>(can & PCI_PM_CAP_VER_MASK),
          .d1 = (can & PCI_PM_CAP_D1) != 0,
          .d2 = (can & PCI_PM_CAP_D2) != 0,
          .state = static_cast<uint8_t>(control & PCI_PM_CTRL_STATE_MASK),
          .no_soft_reset = (control & PCI_PM_CTRL_NO_SOFT_RESET) != 0};
}

PciExpressCapability DecodePciExpress(PciBytes space, size_t at) {
  const uint16_t flags = space.Word(at + PCI_EXP_FLAGS);
  const uint32_t device = space.Long(at + PCI_EXP_DEVCAP);
  return {.version = static_cast<uint8_t>(flags & PCI_EXP_FLAGS_VERS),
          .type = static_cast<uint8_t>((flags & PCI_EXP_FLAGS_TYPE) >> 4),
          .max_payload_bytes = 128u << (device & PCI_EXP_DEVCAP_PAYLOAD),
          .function_level_reset = (device & PCI_EXP_DEVCAP_FLR) != 0};
}

ExtendedVendorCapability DecodeExtendedVendor(PciBytes space, size_t at) {
  const uint32_t header = space.Long(at + PCI_VNDR_HEADER);
  return {.id = static_cast<uint16_t>(PCI_VNDR_HEADER_ID(header)),
          .revision = static_cast<uint8_t>(PCI_VNDR_HEADER_REV(header)),
          .bytes = static_cast<uint16_t>(PCI_VNDR_HEADER_LEN(header))};
}

}  // namespace

size_t CapabilityLength(PciBytes space, const PciCapability& capability) {
  if (capability.extended) {
    if (capability.id != PCI_EXT_CAP_ID_VNDR) return kExtendedHeaderBytes;
    const ExtendedVendorCapability vendor = DecodeExtendedVendor(space, capability.offset);
    return std::max<size_t>(vendor.bytes, PCI_VNDR_HEADER + 4);
  }
  switch (capability.id) {
    case PCI_CAP_ID_MSIX:
      return PCI_CAP_MSIX_SIZEOF;
    case PCI_CAP_ID_MSI:
      return MsiBytes(space, capability.offset);
    case PCI_CAP_ID_PM:
      return PCI_PM_SIZEOF;
    case PCI_CAP_ID_EXP:
      return kPciExpressBytes;
    case PCI_CAP_ID_VNDR:
      return std::max<size_t>(space.Byte(capability.offset + size_t{PCI_CAP_FLAGS}),
                              PCI_CAP_FLAGS + 1);
    default:
      return PCI_CAP_SIZEOF;
  }
}

PciCapabilityRegisters DecodeCapability(PciBytes space, const PciCapability& capability) {
  const size_t at = capability.offset;
  if (capability.extended) {
    if (capability.id == PCI_EXT_CAP_ID_VNDR) return DecodeExtendedVendor(space, at);
    return {};
  }
  switch (capability.id) {
    case PCI_CAP_ID_MSIX:
      return DecodeMsix(space, at);
    case PCI_CAP_ID_MSI:
      return DecodeMsi(space, at);
    case PCI_CAP_ID_PM:
      return DecodePower(space, at);
    case PCI_CAP_ID_EXP:
      return DecodePciExpress(space, at);
    case PCI_CAP_ID_VNDR:
      return VendorCapability{.bytes = space.Byte(at + PCI_CAP_FLAGS)};
    default:
      return {};
  }
}

}  // namespace vfio_user
