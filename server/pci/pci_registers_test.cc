#include "server/pci/pci_registers.h"

#include <cstdint>
#include <span>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

class PciRegistersTest : public testing::Test {
 protected:
  std::vector<uint8_t> Read(size_t offset, size_t count) const {
    std::vector<uint8_t> bytes(count);
    registers_.Read(offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }
  void Write(size_t offset, std::vector<uint8_t> bytes) {
    registers_.Write(offset, std::as_bytes(std::span(bytes)));
  }

  PciRegisters registers_{8};
};

TEST_F(PciRegistersTest, IsLittleEndian) {
  registers_.Define(2, uint32_t{0x44332211});

  EXPECT_THAT(Read(0, 8), ElementsAre(0, 0, 0x11, 0x22, 0x33, 0x44, 0, 0));
  EXPECT_EQ(registers_.Get<uint16_t>(3), 0x3322);
  EXPECT_EQ(registers_.Get<uint64_t>(0), 0x443322110000u);
}

TEST_F(PciRegistersTest, CanOnlyBeReadUnlessItSaysOtherwise) {
  registers_.Define(0, uint16_t{0x1234});

  Write(0, {0xff, 0xff});

  EXPECT_THAT(Read(0, 2), ElementsAre(0x34, 0x12));
}

TEST_F(PciRegistersTest, TakesTheWritableBitsOfAWrite) {
  registers_.Define(0, uint8_t{0xa5});
  registers_.LetWrite(0, uint8_t{0x0f});

  Write(0, {0x5a});
  EXPECT_THAT(Read(0, 1), ElementsAre(0xaa));

  Write(0, {0xff});
  EXPECT_THAT(Read(0, 1), ElementsAre(0xaf));
}

TEST_F(PciRegistersTest, ClearsBitsByOnesAndKeepsThemByZeros) {
  registers_.Define(0, uint16_t{0xf0f0});
  registers_.LetClear(0, uint16_t{0xff00});

  Write(0, {0, 0});
  EXPECT_THAT(Read(0, 2), ElementsAre(0xf0, 0xf0));

  Write(0, {0xff, 0x1f});
  EXPECT_THAT(Read(0, 2), ElementsAre(0xf0, 0xe0));
}

TEST_F(PciRegistersTest, TakesWritesOfPartsOfARegister) {
  registers_.LetWrite(0, UINT32_MAX);

  Write(1, {0xaa, 0xbb});

  EXPECT_EQ(registers_.Get<uint32_t>(0), 0xbbaa00u);
}

TEST_F(PciRegistersTest, LetsTheHardwareChangeWhatSoftwareCannot) {
  registers_.Put(4, uint16_t{0xbeef});

  EXPECT_EQ(registers_.Get<uint16_t>(4), 0xbeef);
}

TEST_F(PciRegistersTest, GoesBackToPowerOnWhenReset) {
  registers_.Define(0, uint16_t{0x8001});
  registers_.LetWrite(0, uint16_t{0x00ff});
  registers_.LetClear(0, uint16_t{0xff00});
  Write(0, {0xfe, 0xff});
  registers_.Put(7, uint8_t{9});

  registers_.Reset();

  EXPECT_THAT(Read(0, 8), ElementsAre(0x01, 0x80, 0, 0, 0, 0, 0, 0));
}

TEST_F(PciRegistersTest, RestoresOnlyWhatSoftwareCouldHaveMade) {
  registers_.Define(0, uint16_t{0x1234});
  registers_.LetWrite(0, uint8_t{0xf0});
  const auto restore = [this](std::vector<uint8_t> bytes) {
    return registers_.Restore(std::as_bytes(std::span(bytes)));
  };

  EXPECT_FALSE(restore({0xc5, 0x12, 0, 0, 0, 0, 0, 0}));
  EXPECT_FALSE(restore({0xc4, 0x12, 0, 0, 0, 0, 0}));
  EXPECT_THAT(Read(0, 2), ElementsAre(0x34, 0x12));

  EXPECT_TRUE(restore({0xc4, 0x12, 0, 0, 0, 0, 0, 0}));
  EXPECT_THAT(Read(0, 2), ElementsAre(0xc4, 0x12));
}

}  // namespace
}  // namespace vfio_user
