// Our constants against the kernel's, where the protocol took them over from VFIO: most numbers of
// vfio-user are VFIO's, and its messages are VFIO's structures behind a header.
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>

#include "gtest/gtest.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/region_info.h"

namespace vfio_user {
namespace {

// The number on the wire.
template <typename Enum>
constexpr uint64_t N(Enum value) {
  return static_cast<uint64_t>(value);
}

TEST(LinuxAbiTest, RegionsAndInterruptsOfAPciDevice) {
  EXPECT_EQ(N(RegionIndex::kBar0), VFIO_PCI_BAR0_REGION_INDEX);
  EXPECT_EQ(N(RegionIndex::kBar1), VFIO_PCI_BAR1_REGION_INDEX);
  EXPECT_EQ(N(RegionIndex::kBar2), VFIO_PCI_BAR2_REGION_INDEX);
  EXPECT_EQ(N(RegionIndex::kBar3), VFIO_PCI_BAR3_REGION_INDEX);
  EXPECT_EQ(N(RegionIndex::kBar4), VFIO_PCI_BAR4_REGION_INDEX);
  EXPECT_EQ(N(RegionIndex::kBar5), VFIO_PCI_BAR5_REGION_INDEX);
  EXPECT_EQ(N(RegionIndex::kRom), VFIO_PCI_ROM_REGION_INDEX);
  EXPECT_EQ(N(RegionIndex::kConfig), VFIO_PCI_CONFIG_REGION_INDEX);
  EXPECT_EQ(N(RegionIndex::kVga), VFIO_PCI_VGA_REGION_INDEX);
  EXPECT_EQ(kPciRegionCount, static_cast<uint32_t>(VFIO_PCI_NUM_REGIONS));
  EXPECT_EQ(N(IrqIndex::kIntx), VFIO_PCI_INTX_IRQ_INDEX);
  EXPECT_EQ(N(IrqIndex::kMsi), VFIO_PCI_MSI_IRQ_INDEX);
  EXPECT_EQ(N(IrqIndex::kMsix), VFIO_PCI_MSIX_IRQ_INDEX);
  EXPECT_EQ(N(IrqIndex::kErr), VFIO_PCI_ERR_IRQ_INDEX);
  EXPECT_EQ(N(IrqIndex::kReq), VFIO_PCI_REQ_IRQ_INDEX);
  EXPECT_EQ(kPciIrqCount, static_cast<uint32_t>(VFIO_PCI_NUM_IRQS));
}

TEST(LinuxAbiTest, PciBoundsInConfigurationSpace) {
  EXPECT_EQ(N(RegionIndex::kRom) - N(RegionIndex::kBar0), PCI_STD_NUM_BARS);
  // The table's size is written as its last index.
  EXPECT_EQ(kMaxIrqVectors, PCI_MSIX_FLAGS_QSIZE + 1u);
}

TEST(LinuxAbiTest, DeviceInfo) {
  EXPECT_EQ(N(DeviceInfoFlag::kReset), VFIO_DEVICE_FLAGS_RESET);
  EXPECT_EQ(N(DeviceInfoFlag::kPci), VFIO_DEVICE_FLAGS_PCI);
  EXPECT_EQ(offsetof(vfio_device_info, flags), 4u);
  EXPECT_EQ(offsetof(vfio_device_info, num_regions), 8u);
  EXPECT_EQ(offsetof(vfio_device_info, num_irqs) + sizeof(__u32), DeviceInfo::kBytes);
}

TEST(LinuxAbiTest, RegionInfo) {
  EXPECT_EQ(N(RegionFlag::kRead), VFIO_REGION_INFO_FLAG_READ);
  EXPECT_EQ(N(RegionFlag::kWrite), VFIO_REGION_INFO_FLAG_WRITE);
  EXPECT_EQ(N(RegionFlag::kMmap), VFIO_REGION_INFO_FLAG_MMAP);
  EXPECT_EQ(N(RegionFlag::kCaps), VFIO_REGION_INFO_FLAG_CAPS);
  EXPECT_EQ(RegionInfo::kBytes, sizeof(vfio_region_info));
  EXPECT_EQ(offsetof(vfio_region_info, cap_offset), 12u);
  EXPECT_EQ(offsetof(vfio_region_info, size), 16u);
  EXPECT_EQ(offsetof(vfio_region_info, offset), 24u);
}

TEST(LinuxAbiTest, RegionCapabilities) {
  const RegionInfo plain;
  RegionInfo sparse = plain;
  sparse.sparse_areas.emplace(3);
  EXPECT_EQ(sparse.FullSize() - plain.FullSize(),
            sizeof(vfio_region_info_cap_sparse_mmap) + 3 * sizeof(vfio_region_sparse_mmap_area));
  RegionInfo type = plain;
  type.type.emplace();
  EXPECT_EQ(type.FullSize() - plain.FullSize(), sizeof(vfio_region_info_cap_type));
  EXPECT_EQ(VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1);
  EXPECT_EQ(VFIO_REGION_INFO_CAP_TYPE, 2);
  EXPECT_EQ(offsetof(vfio_region_info_cap_sparse_mmap, nr_areas), 8u);
  EXPECT_EQ(offsetof(vfio_region_info_cap_type, subtype), 12u);
}

TEST(LinuxAbiTest, Interrupts) {
  EXPECT_EQ(N(IrqInfoFlag::kEventfd), VFIO_IRQ_INFO_EVENTFD);
  EXPECT_EQ(N(IrqInfoFlag::kMaskable), VFIO_IRQ_INFO_MASKABLE);
  EXPECT_EQ(N(IrqInfoFlag::kAutomasked), VFIO_IRQ_INFO_AUTOMASKED);
  EXPECT_EQ(N(IrqInfoFlag::kNoresize), VFIO_IRQ_INFO_NORESIZE);
  EXPECT_EQ(IrqInfo::kBytes, sizeof(vfio_irq_info));
  EXPECT_EQ(N(IrqData::kNone), VFIO_IRQ_SET_DATA_NONE);
  EXPECT_EQ(N(IrqData::kBool), VFIO_IRQ_SET_DATA_BOOL);
  EXPECT_EQ(N(IrqData::kEventfd), VFIO_IRQ_SET_DATA_EVENTFD);
  EXPECT_EQ(N(IrqAction::kMask), VFIO_IRQ_SET_ACTION_MASK);
  EXPECT_EQ(N(IrqAction::kUnmask), VFIO_IRQ_SET_ACTION_UNMASK);
  EXPECT_EQ(N(IrqAction::kTrigger), VFIO_IRQ_SET_ACTION_TRIGGER);
  EXPECT_EQ(SetIrqsRequest::kBytes, offsetof(vfio_irq_set, data));
}

TEST(LinuxAbiTest, DmaMapAndUnmap) {
  // VFIO names a virtual address where this protocol has an offset into the descriptor's file; the
  // bits above these two are not VFIO's.
  EXPECT_EQ(N(DmaMapFlag::kRead), VFIO_DMA_MAP_FLAG_READ);
  EXPECT_EQ(N(DmaMapFlag::kWrite), VFIO_DMA_MAP_FLAG_WRITE);
  EXPECT_EQ(DmaMapRequest::kBytes, sizeof(vfio_iommu_type1_dma_map));
  EXPECT_EQ(N(DmaUnmapFlag::kGetDirtyBitmap), VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP);
  EXPECT_EQ(N(DmaUnmapFlag::kAll), VFIO_DMA_UNMAP_FLAG_ALL);
  EXPECT_EQ(DmaUnmapRequest::kBytes, offsetof(vfio_iommu_type1_dma_unmap, data));
  EXPECT_EQ(DirtyBitmapHeader::kBytes, offsetof(vfio_bitmap, data));
}

TEST(LinuxAbiTest, Features) {
  EXPECT_EQ(N(FeatureOp::kGet), VFIO_DEVICE_FEATURE_GET);
  EXPECT_EQ(N(FeatureOp::kSet), VFIO_DEVICE_FEATURE_SET);
  EXPECT_EQ(N(FeatureOp::kProbe), VFIO_DEVICE_FEATURE_PROBE);
  EXPECT_EQ(DeviceFeature::kBytes, offsetof(vfio_device_feature, data));
  EXPECT_EQ(N(Feature::kPciVfToken), VFIO_DEVICE_FEATURE_PCI_VF_TOKEN);
  EXPECT_EQ(N(Feature::kMigration), VFIO_DEVICE_FEATURE_MIGRATION);
  EXPECT_EQ(N(Feature::kMigDeviceState), VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE);
  EXPECT_EQ(N(Feature::kLowPowerEntry), VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
  EXPECT_EQ(N(Feature::kLowPowerEntryWithWakeup), VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP);
  EXPECT_EQ(N(Feature::kLowPowerExit), VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
  EXPECT_EQ(N(Feature::kDmaLoggingStart), VFIO_DEVICE_FEATURE_DMA_LOGGING_START);
  EXPECT_EQ(N(Feature::kDmaLoggingStop), VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP);
  EXPECT_EQ(N(Feature::kDmaLoggingReport), VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT);
#ifdef VFIO_DEVICE_FEATURE_MIG_DATA_SIZE
  EXPECT_EQ(N(Feature::kMigDataSize), VFIO_DEVICE_FEATURE_MIG_DATA_SIZE);
#endif
}

TEST(LinuxAbiTest, FeatureData) {
  EXPECT_EQ(MigrationFeature::kBytes, sizeof(vfio_device_feature_migration));
  EXPECT_EQ(MigDeviceState::kBytes, sizeof(vfio_device_feature_mig_state));
  EXPECT_EQ(DmaLoggingStart::kBytes, offsetof(vfio_device_feature_dma_logging_control, ranges));
  EXPECT_EQ(DmaLoggingRange::kBytes, sizeof(vfio_device_feature_dma_logging_range));
  EXPECT_EQ(DmaLoggingReport::kBytes, offsetof(vfio_device_feature_dma_logging_report, bitmap));
}

TEST(LinuxAbiTest, Migration) {
  EXPECT_EQ(N(MigrationFlag::kStopCopy), VFIO_MIGRATION_STOP_COPY);
  EXPECT_EQ(N(MigrationFlag::kP2p), VFIO_MIGRATION_P2P);
  EXPECT_EQ(N(MigState::kError), VFIO_DEVICE_STATE_ERROR);
  EXPECT_EQ(N(MigState::kStop), VFIO_DEVICE_STATE_STOP);
  EXPECT_EQ(N(MigState::kRunning), VFIO_DEVICE_STATE_RUNNING);
  EXPECT_EQ(N(MigState::kStopCopy), VFIO_DEVICE_STATE_STOP_COPY);
  EXPECT_EQ(N(MigState::kResuming), VFIO_DEVICE_STATE_RESUMING);
  EXPECT_EQ(N(MigState::kRunningP2p), VFIO_DEVICE_STATE_RUNNING_P2P);
#ifdef VFIO_MIGRATION_PRE_COPY  // Headers of Linux 6.2 and later.
  EXPECT_EQ(N(MigrationFlag::kPreCopy), VFIO_MIGRATION_PRE_COPY);
  EXPECT_EQ(N(MigState::kPreCopy), VFIO_DEVICE_STATE_PRE_COPY);
  EXPECT_EQ(N(MigState::kPreCopyP2p), VFIO_DEVICE_STATE_PRE_COPY_P2P);
#endif
}

}  // namespace
}  // namespace vfio_user
