#include "server/pci/msix_table.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "server/device.h"
#include "server/interrupts/interrupt_types.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

// Table at 0x40 + 0x30, pending bits at 0x80 + 8 of BAR 1.
DeviceDescription Description() {
  DeviceDescription description;
  description.bars = {{.index = RegionIndex::kBar1, .size = 0x100}};
  description.irqs = {{.index = IrqIndex::kMsix, .count = 3}};
  description.msix = {.bar = RegionIndex::kBar1, .table_offset = 0x40, .pba_offset = 0x80};
  return description;
}

class MsixTableTest : public testing::Test {
 protected:
  std::vector<uint8_t> Read(size_t offset, size_t count) const {
    std::vector<uint8_t> bytes(count);
    table_.Read(offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }
  void Write(size_t offset, std::vector<uint8_t> bytes) {
    table_.Write(offset, std::as_bytes(std::span(bytes)));
  }

  MsixTable table_{Description()};
};

TEST_F(MsixTableTest, StartsWithAllVectorsMaskedInTheTableAndNoneHeldBack) {
  ASSERT_EQ(table_.vectors(), 3u);
  for (uint32_t vector = 0; vector < 3; ++vector) {
    EXPECT_THAT(Read(16 * vector, 16), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    EXPECT_EQ(table_.mask(vector), Masking::kUnmasked);
  }
}

TEST_F(MsixTableTest, KeepsAddressAndDataAndOnlyTheMaskOfTheControl) {
  Write(16, std::vector<uint8_t>(16, 0xff));

  EXPECT_THAT(Read(16, 16), ElementsAre(0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  //
                                        0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0));
  EXPECT_THAT(Read(0, 1), ElementsAre(0));
  EXPECT_THAT(Read(32, 1), ElementsAre(0));
}

TEST_F(MsixTableTest, HoldsAVectorBackOnceItsControlWasWritten) {
  Write(16, {0, 0, 0xe0, 0xfe});
  EXPECT_EQ(table_.mask(1), Masking::kUnmasked);

  Write(28, {1, 0, 0, 0});
  EXPECT_EQ(table_.mask(1), Masking::kMasked);
  EXPECT_EQ(table_.mask(0), Masking::kUnmasked);
  EXPECT_EQ(table_.mask(2), Masking::kUnmasked);

  Write(28, {0, 0, 0, 0});
  EXPECT_EQ(table_.mask(1), Masking::kUnmasked);
}

TEST_F(MsixTableTest, TakesAWriteOfDataAndControlAtOnce) {
  Write(8, {0x21, 0x40, 0, 0, 1, 0, 0, 0});

  EXPECT_THAT(Read(8, 8), ElementsAre(0x21, 0x40, 0, 0, 1, 0, 0, 0));
  EXPECT_EQ(table_.mask(0), Masking::kMasked);
}

TEST_F(MsixTableTest, KeepsTheTableAndNotItsMasksWhenTheClientIsGone) {
  Write(8, {0x21, 0, 0, 0, 1, 0, 0, 0});

  table_.ForgetUse();

  EXPECT_EQ(table_.mask(0), Masking::kUnmasked);
  EXPECT_THAT(Read(8, 8), ElementsAre(0x21, 0, 0, 0, 1, 0, 0, 0));
}

TEST_F(MsixTableTest, GoesBackToPowerOnWhenReset) {
  Write(0, std::vector<uint8_t>(48, 0));

  table_.Reset();

  EXPECT_THAT(Read(8, 8), ElementsAre(0, 0, 0, 0, 1, 0, 0, 0));
  EXPECT_EQ(table_.mask(0), Masking::kUnmasked);
}

struct Case {
  uint64_t offset;
  size_t bytes;
  MsixPiece::Of of;
  uint64_t piece_offset;
  size_t piece_bytes;
};

TEST(MsixPlacementTest, CutsAccessesAtTheBorders) {
  using enum MsixPiece::Of;
  const MsixPlacement place(Description());
  const Case cases[] = {
      {0, 4, kDevice, 0, 4},
      {0, 0x100, kDevice, 0, 0x40},
      {0x3f, 1, kDevice, 0x3f, 1},
      {0x3c, 8, kDevice, 0x3c, 4},
      {0x40, 8, kTable, 0, 8},
      {0x6c, 4, kTable, 0x2c, 4},
      {0x6c, 0x94, kTable, 0x2c, 4},
      {0x70, 0x90, kDevice, 0x70, 0x10},
      {0x80, 4, kPendingBits, 0, 4},
      {0x84, 0x7c, kPendingBits, 4, 4},
      {0x88, 0x78, kDevice, 0x88, 0x78},
  };

  for (const Case& test : cases) {
    const MsixPiece piece = place.FirstPiece(RegionIndex::kBar1, test.offset, test.bytes);
    EXPECT_EQ(piece.of, test.of) << test.offset;
    EXPECT_EQ(piece.offset, test.piece_offset) << test.offset;
    EXPECT_EQ(piece.bytes, test.piece_bytes) << test.offset;
  }
}

TEST(MsixPlacementTest, LeavesOtherBarsAndDevicesWithoutMsixAlone) {
  EXPECT_EQ(MsixPlacement(Description()).FirstPiece(RegionIndex::kBar0, 0x40, 8).of,
            MsixPiece::Of::kDevice);
  const MsixPiece piece = MsixPlacement(DeviceDescription()).FirstPiece(RegionIndex::kBar0, 0, 8);
  EXPECT_EQ(piece.of, MsixPiece::Of::kDevice);
  EXPECT_EQ(piece.bytes, 8u);
}

TEST(MsixTableOfNoneTest, HasNoVectors) { EXPECT_EQ(MsixTable(DeviceDescription()).vectors(), 0u); }

}  // namespace
}  // namespace vfio_user
