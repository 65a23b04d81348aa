#include "client/pci_config.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <span>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PciConfigTest : public ::testing::Test {
 protected:
  void Put(size_t offset, std::initializer_list<uint8_t> values) {
    for (const uint8_t value : values) bytes_.at(offset++) = std::byte{value};
  }
  // One capability, at 0x40.
  void PutCapability(std::initializer_list<uint8_t> values) {
    Put(0x06, {0x10});
    Put(0x34, {0x40});
    Put(0x40, values);
  }

  std::vector<std::byte> bytes_ = std::vector<std::byte>(256);
};

TEST_F(PciConfigTest, FindsTheIdentity) {
  Put(0x00, {0x34, 0x12, 0x01, 0xdc, 0x06, 0x04});
  Put(0x08, {0x02, 0x00, 0x80, 0x08});
  Put(0x0e, {0x80});
  Put(0x2c, {0xf4, 0x1a, 0x00, 0x11});
  Put(0x3d, {0x01});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_EQ(config.identity, (PciDeviceIdentity{.vendor_id = 0x1234,
                                                .device_id = 0xdc01,
                                                .subsystem_vendor_id = 0x1af4,
                                                .subsystem_id = 0x1100,
                                                .class_code = 0x088000,
                                                .revision = 2}));
  EXPECT_EQ(config.command, 0x0406);
  EXPECT_EQ(config.header_type, 0);
  EXPECT_EQ(config.interrupt_pin, 1);
  EXPECT_THAT(config.capabilities, IsEmpty());
  EXPECT_THAT(config.problems, IsEmpty());
}

TEST_F(PciConfigTest, ReadsTheBars) {
  Put(0x10, {0x00, 0x00, 0x00, 0xfe});
  Put(0x14, {0x0c, 0x00, 0x00, 0x10, 0x01, 0x00, 0x00, 0x00});
  Put(0x1c, {0x81, 0xe0, 0x00, 0x00});
  Put(0x24, {0x04, 0x00, 0x10, 0x00});

  EXPECT_THAT(
      ParsePciConfig(bytes_).bars,
      ElementsAre(
          PciBar{.index = RegionIndex::kBar0, .address = 0xfe000000},
          PciBar{.index = RegionIndex::kBar1,
                 .kind = PciBarKind::kMemory64,
                 .prefetchable = true,
                 .address = 0x110000000},
          PciBar{.index = RegionIndex::kBar3, .kind = PciBarKind::kIoPorts, .address = 0xe080},
          PciBar{.index = RegionIndex::kBar4},
          // There is no register for its upper half.
          PciBar{.index = RegionIndex::kBar5, .address = 0x100000}));
}

TEST_F(PciConfigTest, WalksTheCapabilitiesInTheirOrder) {
  PutCapability({0x11, 0x60, 0x03, 0xc0, 0x00, 0x08, 0x00, 0x00, 0x02, 0x0c, 0x00, 0x00});
  Put(0x60, {0x05, 0x00, 0xa5, 0x01, 0x00, 0x00, 0xe0, 0xfe, 0x01, 0x00, 0x00, 0x00, 0x34, 0x12});

  const PciConfig config = ParsePciConfig(bytes_);

  ASSERT_THAT(config.capabilities, SizeIs(2));
  EXPECT_THAT(config.problems, IsEmpty());
  EXPECT_EQ(config.capabilities[0].offset, 0x40);
  EXPECT_EQ(config.capabilities[1].offset, 0x60);
  const auto* const msix = config.Find<MsixCapability>();
  ASSERT_NE(msix, nullptr);
  EXPECT_TRUE(msix->enabled);
  EXPECT_TRUE(msix->function_masked);
  EXPECT_EQ(msix->vectors, 4u);
  EXPECT_EQ(msix->table_bar, RegionIndex::kBar0);
  EXPECT_EQ(msix->table_offset, 0x800u);
  EXPECT_EQ(msix->pba_bar, RegionIndex::kBar2);
  EXPECT_EQ(msix->pba_offset, 0xc00u);
  const auto* const msi = config.Find<MsiCapability>();
  ASSERT_NE(msi, nullptr);
  EXPECT_TRUE(msi->enabled);
  EXPECT_EQ(msi->vectors, 4u);
  EXPECT_EQ(msi->enabled_vectors, 4u);
  EXPECT_TRUE(msi->wide_address);
  EXPECT_TRUE(msi->maskable);
  EXPECT_EQ(msi->address, 0x1fee00000u);
  EXPECT_EQ(msi->data, 0x1234);
}

TEST_F(PciConfigTest, DecodesMsiOf32Bits) {
  PutCapability({0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe0, 0xfe, 0x34, 0x12});

  const PciConfig config = ParsePciConfig(bytes_);

  const auto* const msi = config.Find<MsiCapability>();
  ASSERT_NE(msi, nullptr);
  EXPECT_FALSE(msi->enabled);
  EXPECT_EQ(msi->vectors, 1u);
  EXPECT_FALSE(msi->wide_address);
  EXPECT_EQ(msi->address, 0xfee00000u);
  EXPECT_EQ(msi->data, 0x1234);
}

TEST_F(PciConfigTest, DecodesPowerManagementAndPciExpress) {
  PutCapability({0x01, 0x50, 0x03, 0x02, 0x0b, 0x00, 0x00, 0x00});
  Put(0x50, {0x10, 0x60, 0x02, 0x00, 0x01, 0x00, 0x00, 0x10});
  Put(0x60, {0x09, 0x00, 0x14});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.problems, IsEmpty());
  const auto* const power = config.Find<PowerCapability>();
  ASSERT_NE(power, nullptr);
  EXPECT_EQ(power->version, 3);
  EXPECT_TRUE(power->d1);
  EXPECT_FALSE(power->d2);
  EXPECT_EQ(power->state, 3);
  EXPECT_TRUE(power->no_soft_reset);
  const auto* const express = config.Find<PciExpressCapability>();
  ASSERT_NE(express, nullptr);
  EXPECT_EQ(express->version, 2);
  EXPECT_EQ(express->type, 0);
  EXPECT_EQ(express->max_payload_bytes, 256u);
  EXPECT_TRUE(express->function_level_reset);
  const auto* const vendor = config.Find<VendorCapability>();
  ASSERT_NE(vendor, nullptr);
  EXPECT_EQ(vendor->bytes, 20);
  EXPECT_EQ(config.Find<MsixCapability>(), nullptr);
}

TEST_F(PciConfigTest, IgnoresTheListWhenTheStatusRegisterSaysThereIsNone) {
  PutCapability({0x11});
  Put(0x06, {0x00});

  EXPECT_THAT(ParsePciConfig(bytes_).capabilities, IsEmpty());
}

TEST_F(PciConfigTest, ReportsALoopInsteadOfFollowingIt) {
  PutCapability({0x09, 0x50, 0x10});
  Put(0x50, {0x09, 0x40, 0x10});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.capabilities, SizeIs(2));
  EXPECT_THAT(config.problems, ElementsAre("the capability list loops at 0x40"));
}

TEST_F(PciConfigTest, ReportsACapabilityThatPointsAtItself) {
  PutCapability({0x09, 0x40, 0x10});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.capabilities, SizeIs(1));
  EXPECT_THAT(config.problems, ElementsAre("the capability list loops at 0x40"));
}

TEST_F(PciConfigTest, ReportsPointersIntoTheHeader) {
  PutCapability({0x09, 0x3c, 0x10});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.capabilities, SizeIs(1));
  EXPECT_THAT(config.problems, ElementsAre("a capability pointer of 0x3c leaves config space"));
}

TEST_F(PciConfigTest, IgnoresTheReservedBitsOfPointers) {
  PutCapability({0x09, 0x53, 0x10});
  Put(0x34, {0x43});
  Put(0x50, {0x0d, 0x00});

  const PciConfig config = ParsePciConfig(bytes_);

  ASSERT_THAT(config.capabilities, SizeIs(2));
  EXPECT_EQ(config.capabilities[0].offset, 0x40);
  EXPECT_EQ(config.capabilities[1].offset, 0x50);
  EXPECT_THAT(config.problems, IsEmpty());
}

TEST_F(PciConfigTest, ReportsACapabilityThatIsCutOffAndDecodesNothingOfIt) {
  PutCapability({0x09, 0xf8, 0x10});
  Put(0xf8, {0x11, 0x00, 0x03, 0x80});

  const PciConfig config = ParsePciConfig(bytes_);

  ASSERT_THAT(config.capabilities, SizeIs(2));
  EXPECT_TRUE(std::holds_alternative<std::monostate>(config.capabilities[1].registers));
  EXPECT_THAT(config.problems, ElementsAre("the capability at 0xf8 is cut off: it has 12 bytes"));
}

TEST_F(PciConfigTest, ReportsCapabilitiesThatOverlap) {
  PutCapability({0x11, 0x44, 0x03, 0x80});
  Put(0x44, {0x09, 0x00, 0x03});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.capabilities, SizeIs(2));
  EXPECT_THAT(config.problems, ElementsAre("the capability at 0x44 overlaps another one"));
}

TEST_F(PciConfigTest, WalksTheExtendedList) {
  bytes_.resize(4096);
  Put(0x100, {0x03, 0x00, 0x01, 0x20});
  Put(0x200, {0x0b, 0x00, 0x01, 0x00, 0x34, 0x12, 0x85, 0x01});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.problems, IsEmpty());
  ASSERT_THAT(config.capabilities, SizeIs(2));
  EXPECT_EQ(config.capabilities[0].id, 3);
  EXPECT_TRUE(config.capabilities[0].extended);
  EXPECT_EQ(config.capabilities[0].version, 1);
  EXPECT_EQ(config.capabilities[1].offset, 0x200);
  const auto* const vendor = config.Find<ExtendedVendorCapability>();
  ASSERT_NE(vendor, nullptr);
  EXPECT_EQ(vendor->id, 0x1234);
  EXPECT_EQ(vendor->revision, 5);
  EXPECT_EQ(vendor->bytes, 24);
}

TEST_F(PciConfigTest, ReportsALoopOfTheExtendedList) {
  bytes_.resize(4096);
  Put(0x100, {0x03, 0x00, 0x01, 0x20});
  Put(0x200, {0x19, 0x00, 0x01, 0x10});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.capabilities, SizeIs(2));
  EXPECT_THAT(config.problems, ElementsAre("the extended capability list loops at 0x100"));
}

TEST_F(PciConfigTest, ReportsAnExtendedPointerIntoTheConventionalSpace) {
  bytes_.resize(4096);
  Put(0x100, {0x03, 0x00, 0x01, 0x04});

  EXPECT_THAT(ParsePciConfig(bytes_).problems,
              ElementsAre("an extended capability pointer of 0x040 leaves its space"));
}

TEST_F(PciConfigTest, TakesAllOnesForNoExtendedCapabilities) {
  bytes_.resize(4096, std::byte{0xff});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.capabilities, IsEmpty());
  EXPECT_THAT(config.problems, IsEmpty());
}

TEST_F(PciConfigTest, BytesThatAreNotThereReadAsZero) {
  for (size_t bytes = 0; bytes < 64; ++bytes) {
    const PciConfig config = ParsePciConfig(std::span(bytes_).first(bytes));

    EXPECT_EQ(config.identity, PciDeviceIdentity());
    EXPECT_THAT(config.capabilities, IsEmpty());
  }
}

// What a hostile server may say: any bytes, of any length, with lists that are followed.
TEST(PciConfigHostileTest, EndsForAnyBytesAndFindsEachPlaceOnce) {
  std::mt19937 random(20);
  std::vector<std::byte> bytes(4096);
  for (int round = 0; round < 3000; ++round) {
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    bytes[0x06] |= std::byte{0x10};
    // Few different pointers and ids make long lists, loops and overlaps.
    for (size_t i = 0x40; round % 2 == 0 && i < 0x100; i += 2) {
      bytes[i] = static_cast<std::byte>(random() % 0x14);
      bytes[i + 1] = static_cast<std::byte>(0x40 + random() % 0xc0);
    }
    const size_t length = random() % 3 == 0 ? random() % 4097 : 4096;

    const PciConfig config = ParsePciConfig(std::span(bytes).first(length));

    std::vector<uint16_t> offsets;
    for (const PciCapability& capability : config.capabilities) {
      EXPECT_LT(capability.offset, length);
      EXPECT_EQ(capability.offset % 4, 0);
      EXPECT_EQ(capability.offset >= 0x100, capability.extended);
      offsets.push_back(capability.offset);
    }
    std::ranges::sort(offsets);
    EXPECT_EQ(std::ranges::adjacent_find(offsets), offsets.end());
  }
}

}  // namespace
}  // namespace vfio_user
