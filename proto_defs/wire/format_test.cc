#include "proto_defs/wire/format.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/version.h"

namespace vfio_user {
namespace {

template <HasText T>
std::string Text(const T& value) {
  return fmt::format("{}", value);
}

constexpr std::array<uint8_t, 4> kData = {0x44, 0x43, 0x50, 0x59};

TEST(FormatTest, TakesTheFormatSpecificationsOfStrings) {
  EXPECT_EQ(fmt::format("[{:>6}]", RegionIndex::kBar0), "[  bar0]");
}

TEST(FormatTest, NumbersHaveNamesOrStayNumbers) {
  EXPECT_EQ(Text(Command::kDmaMap), "DMA_MAP");
  EXPECT_EQ(Text(Command{14}), "UNKNOWN 14");
  EXPECT_EQ(Text(Iova{0x1000}), "0x1000");
  EXPECT_EQ(Text(Feature::kPciVfToken), "pci-vf-token");
  EXPECT_EQ(Text(Feature::kMigDeviceState), "mig-device-state");
  EXPECT_EQ(Text(Feature::kDmaLoggingReport), "dma-logging-report");
  EXPECT_EQ(Text(Feature::kMigDataSize), "mig-data-size");
  EXPECT_EQ(Text(Feature{10}), "10");
  EXPECT_EQ(Text(IoFdType::kIoEventFd), "ioeventfd");
  EXPECT_EQ(Text(IoFdType::kShadowIoEventFd), "shadow-ioeventfd");
  EXPECT_EQ(Text(IoFdType{3}), "3");
  EXPECT_EQ(Text(MigState::kError), "error");
  EXPECT_EQ(Text(MigState::kPreCopyP2p), "pre-copy-p2p");
  EXPECT_EQ(Text(MigState{8}), "8");
}

TEST(FormatTest, IndexesHaveNamesOrStayNumbers) {
  EXPECT_EQ(Text(RegionIndex::kBar5), "bar5");
  EXPECT_EQ(Text(RegionIndex::kRom), "rom");
  EXPECT_EQ(Text(RegionIndex::kConfig), "config");
  EXPECT_EQ(Text(RegionIndex::kVga), "vga");
  EXPECT_EQ(Text(RegionIndex{9}), "9");
  EXPECT_EQ(Text(IrqIndex::kIntx), "intx");
  EXPECT_EQ(Text(IrqIndex::kMsix), "msix");
  EXPECT_EQ(Text(IrqIndex::kReq), "req");
  EXPECT_EQ(Text(IrqIndex{UINT32_MAX}), "4294967295");
  EXPECT_EQ(Text(IrqData::kNone), "none");
  EXPECT_EQ(Text(IrqData::kBool), "bool");
  EXPECT_EQ(Text(IrqData::kEventfd), "eventfd");
  EXPECT_EQ(Text(IrqData{3}), "0x3");
  EXPECT_EQ(Text(IrqAction::kMask), "mask");
  EXPECT_EQ(Text(IrqAction::kUnmask), "unmask");
  EXPECT_EQ(Text(IrqAction::kTrigger), "trigger");
  EXPECT_EQ(Text(IrqAction{9}), "0x9");
}

TEST(FormatTest, FlagsAreNamesWithBarsBetween) {
  EXPECT_EQ(Text(kKnownDeviceInfoFlags), "reset|pci");
  EXPECT_EQ(Text(kKnownDmaMapFlags), "read|write|mmap|file-io");
  EXPECT_EQ(Text(kKnownDmaUnmapFlags), "get-dirty-bitmap|all");
  EXPECT_EQ(Text(kKnownFeatureOps), "get|set|probe");
  EXPECT_EQ(Text(kKnownIrqInfoFlags), "eventfd|maskable|automasked|noresize");
  EXPECT_EQ(Text(kKnownMigrationFlags), "stop-copy|p2p|pre-copy");
  EXPECT_EQ(Text(kKnownRegionFlags), "read|write|mmap|caps");
  EXPECT_EQ(Text(DmaMapFlags()), "none");
  EXPECT_EQ(Text(FeatureOps(FeatureOp::kSet)), "set");
}

TEST(FormatTest, Headers) {
  MessageHeader header{.msg_id = 3, .command = Command::kRegionWrite, .msg_size = 36};
  EXPECT_EQ(Text(header), "REGION_WRITE command id 3 size 36");

  header.no_reply = true;
  EXPECT_EQ(Text(header), "REGION_WRITE command id 3 size 36 no-reply");

  EXPECT_EQ(Text(header.Reply()), "REGION_WRITE reply id 3 size 16");
  EXPECT_EQ(Text(header.Reply(17)), "REGION_WRITE reply id 3 size 16 error 17 (File exists)");

  header.type = 5;
  EXPECT_EQ(Text(header), "REGION_WRITE type 5 id 3 size 36 no-reply");
}

TEST(FormatTest, Versions) {
  VersionMessage version;
  EXPECT_EQ(Text(version), "0.2 no capabilities");

  version.capabilities = {.max_msg_fds = 8,
                          .max_data_xfer_size = 1048576,
                          .max_dma_maps = 65535,
                          .pgsizes = 4096,
                          .write_multiple = true,
                          .twin_socket = TwinSocket{.supported = true, .fd_index = 0},
                          .migration = MigrationCapability{.pgsize = 4096, .max_bitmap_size = 64}};
  EXPECT_EQ(Text(version),
            "0.2 max_msg_fds 8 max_data_xfer_size 1048576 max_dma_maps 65535 pgsizes 4096 "
            "write_multiple true twin_socket supported fd_index 0 migration pgsize 4096 "
            "max_bitmap_size 64");
  EXPECT_EQ(Text(TwinSocket()), "unsupported");
  EXPECT_EQ(Text(MigrationCapability()), "without limits");
  EXPECT_EQ(Text(Capabilities{.write_multiple = false}), "write_multiple false");
}

TEST(FormatTest, DmaMapsAndUnmaps) {
  EXPECT_EQ(Text(DmaMapRequest{
                .flags = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite | DmaMapFlag::kFileIo,
                .file_offset = 0x7f0000001000,
                .address = Iova{0x7f0000001000},
                .size = 0x1000}),
            "DMA_MAP address 0x7f0000001000 size 0x1000 offset 0x7f0000001000 "
            "flags read|write|file-io");

  DmaUnmapRequest unmap{.address = Iova{0x1000}, .size = 0x2000};
  EXPECT_EQ(Text(unmap), "DMA_UNMAP address 0x1000 size 0x2000 flags none");
  EXPECT_EQ(Text(DmaUnmapReply{.echo = unmap}),
            "DMA_UNMAP reply address 0x1000 size 0x2000 flags none");
  EXPECT_EQ(Text(DmaUnmapReply()), "DMA_UNMAP reply without a body");

  unmap.flags = DmaUnmapFlag::kGetDirtyBitmap;
  unmap.bitmap = DirtyBitmapHeader{.page_size = 4096, .size_bytes = 4};
  EXPECT_EQ(Text(unmap),
            "DMA_UNMAP address 0x1000 size 0x2000 flags get-dirty-bitmap "
            "page size 0x1000 bitmap bytes 4");
  EXPECT_EQ(Text(DmaUnmapReply{.echo = unmap, .bitmap = {1, 2, 3, 4}}),
            "DMA_UNMAP reply address 0x1000 size 0x2000 flags get-dirty-bitmap "
            "page size 0x1000 bitmap bytes 4 data 01020304");
}

TEST(FormatTest, DeviceInfos) {
  EXPECT_EQ(Text(DeviceInfoRequest()), "DEVICE_GET_INFO argsz 16");
  EXPECT_EQ(Text(DeviceInfo{.flags = kKnownDeviceInfoFlags, .num_regions = 9, .num_irqs = 5}),
            "DEVICE_GET_INFO reply flags reset|pci regions 9 irqs 5");
}

TEST(FormatTest, RegionInfos) {
  EXPECT_EQ(Text(RegionInfoRequest{.index = RegionIndex::kBar2}),
            "DEVICE_GET_REGION_INFO region bar2 argsz 32");

  RegionInfo info{.argsz = 32, .flags = RegionFlag::kRead, .size = 0x1000};
  EXPECT_EQ(Text(info),
            "DEVICE_GET_REGION_INFO reply region bar0 size 0x1000 offset 0x0 flags read argsz 32");

  info.sparse_areas = {{.offset = 0, .size = 0x10}, {.offset = 0x20, .size = 0x10}};
  info.type = RegionType{.type = 0x80001234, .subtype = 2};
  EXPECT_EQ(Text(info),
            "DEVICE_GET_REGION_INFO reply region bar0 size 0x1000 offset 0x0 flags read argsz 32 "
            "sparse [0x0+0x10, 0x20+0x10] type 0x80001234/0x2");
}

TEST(FormatTest, LongListsAreCut) {
  EXPECT_EQ(Text(DmaLoggingStart{.page_size = 1, .ranges = std::vector<DmaLoggingRange>(8)}),
            "page size 0x1 ranges [0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, "
            "0x0+0x0]");

  RegionInfo info;
  info.sparse_areas = std::vector<SparseArea>(9);
  EXPECT_EQ(Text(info),
            "DEVICE_GET_REGION_INFO reply region bar0 size 0x0 offset 0x0 flags none argsz 32 "
            "sparse [0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, 0x0+0x0, "
            "... 9 in all]");
}

TEST(FormatTest, RegionIoFds) {
  EXPECT_EQ(Text(RegionIoFdsRequest{.index = RegionIndex::kBar0}),
            "DEVICE_GET_REGION_IO_FDS region bar0 argsz 16");
  EXPECT_EQ(Text(RegionIoFdsReply{
                .argsz = 56,
                .count = 1,
                .entries = {{.offset = 0x1000, .size = 4, .fd_index = 0, .flags = 1, .value = 7}}}),
            "DEVICE_GET_REGION_IO_FDS reply region bar0 count 1 argsz 56 "
            "[0x1000+0x4 ioeventfd fd 0 flags 0x1 value 0x7]");
  EXPECT_EQ(Text(IoFdEntry{.type = IoFdType::kShadowIoEventFd,
                           .shadow = ShadowMemory{.fd_index = 1, .offset = 0x80}}),
            "0x0+0x0 shadow-ioeventfd fd none flags 0x0 value 0x0 shadow fd 1 offset 0x80");
}

TEST(FormatTest, Interrupts) {
  EXPECT_EQ(Text(IrqInfoRequest{.index = IrqIndex::kMsix}), "DEVICE_GET_IRQ_INFO irq msix");
  EXPECT_EQ(Text(IrqInfo{.flags = IrqInfoFlag::kEventfd, .index = IrqIndex::kMsi, .count = 4}),
            "DEVICE_GET_IRQ_INFO reply irq msi count 4 flags eventfd");

  SetIrqsRequest set{.data = IrqData::kEventfd,
                     .action = IrqAction::kTrigger,
                     .index = IrqIndex::kMsix,
                     .start = 1,
                     .count = 2};
  EXPECT_EQ(Text(set), "DEVICE_SET_IRQS irq msix start 1 count 2 eventfd|trigger");

  set.data = IrqData::kBool;
  set.bools = {1, 0};
  EXPECT_EQ(Text(set), "DEVICE_SET_IRQS irq msix start 1 count 2 bool|trigger data 0100");
}

TEST(FormatTest, RegionAccesses) {
  const RegionAccess access{.offset = 0x18, .region = RegionIndex::kConfig, .count = 4};
  EXPECT_EQ(Text(access), "region config offset 0x18 count 4");
  EXPECT_EQ(Text(RegionAccessWithData{.access = access, .data = kData}),
            "region config offset 0x18 count 4 data 44435059");

  const WriteMultiEntry entry{.access = access, .data = {1, 2, 3, 4, 5, 6, 7, 8}};
  EXPECT_EQ(Text(entry), "region config offset 0x18 count 4 data 01020304");
  EXPECT_EQ(Text(WriteMultiRequest{.entries = {entry}}),
            "REGION_WRITE_MULTI [region config offset 0x18 count 4 data 01020304]");
  EXPECT_EQ(Text(WriteMultiReply{.done = 3}), "REGION_WRITE_MULTI reply done 3");
}

TEST(FormatTest, AnEntryThatNoParseMadeStaysInItsArray) {
  EXPECT_EQ(Text(WriteMultiEntry{.access = {.count = 1000}}),
            "region bar0 offset 0x0 count 1000 data 0000000000000000");
}

TEST(FormatTest, DmaAccesses) {
  const DmaAccess access{.address = Iova{0x1000}, .count = 4};
  EXPECT_EQ(Text(access), "address 0x1000 count 4");
  EXPECT_EQ(Text(DmaAccessWithData{.access = access, .data = kData}),
            "address 0x1000 count 4 data 44435059");
}

TEST(FormatTest, DataIsCut) {
  const std::vector<uint8_t> sixteen(16, 0xab);
  EXPECT_EQ(Text(DmaAccessWithData{.data = sixteen}),
            "address 0x0 count 0 data abababababababababababababababab");

  const std::vector<uint8_t> more(17, 0xab);
  EXPECT_EQ(Text(DmaAccessWithData{.data = more}),
            "address 0x0 count 0 data abababababababababababababababab... (17 bytes)");
  EXPECT_EQ(Text(DmaAccessWithData()), "address 0x0 count 0 data none");
}

TEST(FormatTest, Features) {
  DeviceFeature feature{.argsz = 16, .feature = Feature::kMigration, .ops = FeatureOp::kGet};
  EXPECT_EQ(Text(feature), "get migration argsz 16");

  feature.data = {5, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(Text(feature), "get migration argsz 16 flags stop-copy|pre-copy");

  feature.feature = Feature::kMigDeviceState;
  EXPECT_EQ(Text(feature), "get mig-device-state argsz 16 state running-p2p");

  feature.feature = Feature::kMigDataSize;
  EXPECT_EQ(Text(feature), "get mig-data-size argsz 16 stop-copy length 5");
}

TEST(FormatTest, FeatureData) {
  EXPECT_EQ(Text(MigrationFeature{.flags = MigrationFlag::kP2p}), "flags p2p");
  EXPECT_EQ(Text(MigDeviceState{.state = MigState::kStopCopy}), "state stop-copy");
  EXPECT_EQ(Text(MigDataSize{.stop_copy_length = 4096}), "stop-copy length 4096");
  EXPECT_EQ(Text(DmaLoggingRange{.address = Iova{0x1000}, .length = 0x2000}), "0x1000+0x2000");
  EXPECT_EQ(Text(DmaLoggingStart{.page_size = 4096,
                                 .ranges = {{.address = Iova{0x1000}, .length = 0x2000}}}),
            "page size 0x1000 ranges [0x1000+0x2000]");

  DmaLoggingReport report{.address = Iova{0x1000}, .length = 0x2000, .page_size = 0x1000};
  EXPECT_EQ(Text(report), "address 0x1000 length 0x2000 page size 0x1000");

  report.bitmap = {3, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(Text(report), "address 0x1000 length 0x2000 page size 0x1000 data 0300000000000000");
}

TEST(FormatTest, FeatureDataThatDoesNotParseIsShownAsItIs) {
  DeviceFeature feature{
      .feature = Feature::kDmaLoggingStart, .ops = FeatureOp::kSet, .data = {1, 2, 3}};
  EXPECT_EQ(Text(feature), "set dma-logging-start argsz 8 data 010203");

  feature.feature = Feature{200};
  EXPECT_EQ(Text(feature), "set 200 argsz 8 data 010203");
}

TEST(FormatTest, MigrationData) {
  EXPECT_EQ(Text(MigDataReadRequest{.argsz = 72, .size = 64}), "MIG_DATA_READ argsz 72 size 64");
  EXPECT_EQ(Text(MigDataReadReply{.data = kData}), "MIG_DATA_READ reply size 4 data 44435059");
  EXPECT_EQ(Text(MigDataWriteRequest{.data = kData}), "MIG_DATA_WRITE size 4 data 44435059");
}

}  // namespace
}  // namespace vfio_user
