#include "tools/vfio_user/pci_config.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

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

  std::vector<std::byte> bytes_ = std::vector<std::byte>(256);
};

TEST_F(PciConfigTest, FindsTheIdentity) {
  Put(0x00, {0x34, 0x12, 0x01, 0xdc});
  Put(0x08, {0x02, 0x00, 0x80, 0x08});
  Put(0x2c, {0xf4, 0x1a, 0x00, 0x11});
  Put(0x3d, {0x01});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_EQ(config.vendor_id, 0x1234);
  EXPECT_EQ(config.device_id, 0xdc01);
  EXPECT_EQ(config.revision, 2);
  EXPECT_EQ(config.class_code, 0x088000u);
  EXPECT_EQ(config.subsystem_vendor_id, 0x1af4);
  EXPECT_EQ(config.subsystem_id, 0x1100);
  EXPECT_EQ(config.interrupt_pin, 1);
  EXPECT_THAT(config.capabilities, IsEmpty());
  EXPECT_THAT(config.problems, IsEmpty());
}

TEST_F(PciConfigTest, WalksTheCapabilitiesInTheirOrder) {
  Put(0x06, {0x10});
  Put(0x34, {0x40});
  Put(0x40, {0x11, 0x60, 0x03, 0x80, 0x00, 0x08, 0x00, 0x00, 0x02, 0x0c, 0x00, 0x00});
  Put(0x60, {0x05, 0x00, 0x84, 0x00});

  const PciConfig config = ParsePciConfig(bytes_);

  ASSERT_THAT(config.capabilities, SizeIs(2));
  EXPECT_EQ(config.capabilities[0].name, "MSI-X");
  EXPECT_EQ(config.capabilities[0].offset, 0x40);
  EXPECT_EQ(config.capabilities[0].detail,
            "enabled, vectors 4, table bar0+0x800, pending bits bar2+0xc00");
  EXPECT_EQ(config.capabilities[1].name, "MSI");
  EXPECT_EQ(config.capabilities[1].detail, "disabled, vectors 4, 64-bit address");
  EXPECT_THAT(config.problems, IsEmpty());
}

TEST_F(PciConfigTest, IgnoresTheListWhenTheStatusRegisterSaysThereIsNone) {
  Put(0x34, {0x40});
  Put(0x40, {0x11});

  EXPECT_THAT(ParsePciConfig(bytes_).capabilities, IsEmpty());
}

TEST_F(PciConfigTest, ReportsALoopInsteadOfFollowingIt) {
  Put(0x06, {0x10});
  Put(0x34, {0x40});
  Put(0x40, {0x09, 0x50, 0x10});
  Put(0x50, {0x09, 0x40, 0x10});

  const PciConfig config = ParsePciConfig(bytes_);

  EXPECT_THAT(config.capabilities, SizeIs(2));
  EXPECT_THAT(config.problems, ElementsAre("the capability list loops at 0x40"));
}

TEST_F(PciConfigTest, ReportsAPointerIntoTheHeader) {
  Put(0x06, {0x10});
  Put(0x34, {0x3c});

  EXPECT_THAT(ParsePciConfig(bytes_).problems,
              ElementsAre("a capability pointer of 0x3c leaves config space"));
}

TEST_F(PciConfigTest, ReportsAPointerBeyondWhatWasRead) {
  Put(0x06, {0x10});
  Put(0x34, {0x40});
  bytes_.resize(0x42);

  EXPECT_THAT(ParsePciConfig(bytes_).problems,
              ElementsAre("a capability pointer of 0x40 leaves config space"));
}

TEST_F(PciConfigTest, ReadsTheRegistersOfACapabilityAtTheVeryEndAsZero) {
  Put(0x06, {0x10});
  Put(0x34, {0xfc});
  Put(0xfc, {0x11, 0x00, 0x00, 0x00});

  const PciConfig config = ParsePciConfig(bytes_);

  ASSERT_THAT(config.capabilities, SizeIs(1));
  EXPECT_EQ(config.capabilities[0].detail,
            "disabled, vectors 1, table bar0+0x0, pending bits bar0+0x0");
}

TEST_F(PciConfigTest, WalksExtendedCapabilities) {
  bytes_.resize(4096);
  Put(0x100, {0x01, 0x00, 0x02, 0x14});
  Put(0x140, {0x03, 0x00, 0x01, 0x00});

  const PciConfig config = ParsePciConfig(bytes_);

  ASSERT_THAT(config.capabilities, SizeIs(2));
  EXPECT_EQ(config.capabilities[0].name, "Advanced Error Reporting");
  EXPECT_EQ(config.capabilities[0].detail, "version 2");
  EXPECT_EQ(config.capabilities[1].offset, 0x140);
  EXPECT_EQ(config.capabilities[1].name, "Device Serial Number");
}

TEST_F(PciConfigTest, ReportsALoopAmongExtendedCapabilities) {
  bytes_.resize(4096);
  Put(0x100, {0x01, 0x00, 0x01, 0x10});

  EXPECT_THAT(ParsePciConfig(bytes_).problems,
              ElementsAre("the extended capability list loops at 0x100"));
}

TEST_F(PciConfigTest, ReportsAnExtendedPointerBackIntoTheConventionalSpace) {
  bytes_.resize(4096);
  Put(0x100, {0x01, 0x00, 0x01, 0x08});

  EXPECT_THAT(ParsePciConfig(bytes_).problems,
              ElementsAre("an extended capability pointer of 0x080 leaves its space"));
}

TEST_F(PciConfigTest, HasNoExtendedCapabilitiesWhereNothingAnswers) {
  bytes_.resize(4096);
  Put(0x100, {0xff, 0xff, 0xff, 0xff});

  EXPECT_THAT(ParsePciConfig(bytes_).capabilities, IsEmpty());
  EXPECT_THAT(ParsePciConfig(bytes_).problems, IsEmpty());
}

TEST_F(PciConfigTest, TakesAnEmptySpace) {
  const PciConfig config = ParsePciConfig({});

  EXPECT_EQ(config.vendor_id, 0);
  EXPECT_THAT(config.problems, IsEmpty());
}

TEST_F(PciConfigTest, DescribesBars) {
  Put(0x10, {0x00, 0x00, 0x00, 0x00});
  Put(0x14, {0x0c, 0x00, 0x00, 0x00});
  Put(0x1c, {0x01, 0x00, 0x00, 0x00});

  EXPECT_EQ(PciBarText(bytes_, 0), "32-bit memory");
  EXPECT_EQ(PciBarText(bytes_, 1), "64-bit memory, prefetchable");
  EXPECT_EQ(PciBarText(bytes_, 3), "I/O ports");
}

TEST(PciNamesTest, NameWhatIsKnown) {
  EXPECT_EQ(PciClassName(0x088000), "Generic system peripheral");
  EXPECT_EQ(PciClassName(0xfe0000), "unknown class");
  EXPECT_EQ(PciCommandText(0x0006), "I/O- Mem+ BusMaster+ DisINTx-");
}

}  // namespace
}  // namespace vfio_user
