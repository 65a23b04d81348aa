#include "tools/vfio_user/arguments.h"

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/client_options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(ParseNumberTest, TakesDecimalAndHex) {
  EXPECT_THAT(ParseNumber("0"), IsOkAndHolds(0u));
  EXPECT_THAT(ParseNumber("4096"), IsOkAndHolds(4096u));
  EXPECT_THAT(ParseNumber("0x1F"), IsOkAndHolds(31u));
  EXPECT_THAT(ParseNumber("0XffffffffFFFFFFFF"), IsOkAndHolds(UINT64_MAX));
  EXPECT_THAT(ParseNumber("18446744073709551615"), IsOkAndHolds(UINT64_MAX));
}

TEST(ParseNumberTest, TakesALeadingZeroForDecimal) {
  EXPECT_THAT(ParseNumber("010"), IsOkAndHolds(10u));
}

TEST(ParseNumberTest, RejectsWhatIsNoNumber) {
  for (const char* const text : {"", "x", "0x", "-1", "+1", " 1", "1 ", "1.5", "0xg", "12z"}) {
    EXPECT_THAT(ParseNumber(text), StatusIs(kInvalid, HasSubstr("is no number"))) << text;
  }
}

TEST(ParseNumberTest, RejectsMoreThan64Bits) {
  EXPECT_THAT(ParseNumber("18446744073709551616"), StatusIs(kInvalid, HasSubstr("64 bits")));
  EXPECT_THAT(ParseNumber("0x10000000000000000"), StatusIs(kInvalid, HasSubstr("64 bits")));
}

TEST(ParseByteCountTest, TakesNumbersAndUnits) {
  EXPECT_THAT(ParseByteCount("0x10"), IsOkAndHolds(16u));
  EXPECT_THAT(ParseByteCount("3K"), IsOkAndHolds(3072u));
  EXPECT_THAT(ParseByteCount("64M"), IsOkAndHolds(64u << 20));
  EXPECT_THAT(ParseByteCount("2G"), IsOkAndHolds(uint64_t{2} << 30));
}

TEST(ParseByteCountTest, RejectsOtherUnitsAndOverflow) {
  EXPECT_THAT(ParseByteCount("M"), StatusIs(kInvalid, HasSubstr("\"M\"")));
  EXPECT_THAT(ParseByteCount("64MB"), StatusIs(kInvalid, HasSubstr("64K, 64M or 1G")));
  EXPECT_THAT(ParseByteCount("17179869184G"), StatusIs(kInvalid, HasSubstr("64 bits")));
  EXPECT_THAT(ParseByteCount(""), StatusIs(kInvalid));
}

TEST(ParseIrqTypeTest, TakesNamesAndNumbers) {
  EXPECT_THAT(ParseIrqType("intx"), IsOkAndHolds(IrqIndex::kIntx));
  EXPECT_THAT(ParseIrqType("req"), IsOkAndHolds(IrqIndex::kReq));
  EXPECT_THAT(ParseIrqType("0x2"), IsOkAndHolds(IrqIndex::kMsix));
}

TEST(ParseIrqTypeTest, RejectsWhatIsNoType) {
  for (const char* const text : {"", "msi-x", "-1", "4294967296"}) {
    EXPECT_THAT(ParseIrqType(text), StatusIs(kInvalid, HasSubstr("is no type of interrupt")));
  }
}

TEST(ParseRegionTest, TakesNamesAndNumbers) {
  EXPECT_THAT(ParseRegion("bar0"), IsOkAndHolds(RegionIndex::kBar0));
  EXPECT_THAT(ParseRegion("bar5"), IsOkAndHolds(RegionIndex::kBar5));
  EXPECT_THAT(ParseRegion("rom"), IsOkAndHolds(RegionIndex::kRom));
  EXPECT_THAT(ParseRegion("config"), IsOkAndHolds(RegionIndex::kConfig));
  EXPECT_THAT(ParseRegion("vga"), IsOkAndHolds(RegionIndex::kVga));
  EXPECT_THAT(ParseRegion("7"), IsOkAndHolds(RegionIndex::kConfig));
  EXPECT_THAT(ParseRegion("0x20"), IsOkAndHolds(RegionIndex{32}));
}

TEST(ParseRegionTest, RejectsUnknownNamesAndNumbersThatAreTooLarge) {
  EXPECT_THAT(ParseRegion("bar6"), StatusIs(kInvalid, HasSubstr("\"bar6\" is no region")));
  EXPECT_THAT(ParseRegion("4294967296"), StatusIs(kInvalid));
}

TEST(ParseDmaPathTest, TakesTheNamesThatItGives) {
  for (const DmaPath path : {DmaPath::kAuto, DmaPath::kMmap, DmaPath::kFileIo, DmaPath::kMessage}) {
    EXPECT_THAT(ParseDmaPath(DmaPathName(path)), IsOkAndHolds(path));
  }
  EXPECT_THAT(ParseDmaPath("fileio"), StatusIs(kInvalid, HasSubstr("\"fileio\"")));
}

TEST(ParseDemoPathTest, TakesAllForNoneInParticular) {
  EXPECT_THAT(ParseDemoPath("all"), IsOkAndHolds(std::optional<DmaPath>()));
  EXPECT_THAT(ParseDemoPath("mmap"), IsOkAndHolds(std::optional(DmaPath::kMmap)));
  EXPECT_THAT(ParseDemoPath("auto"), StatusIs(kInvalid));
}

TEST(CheckSocketPathTest, IsEmptyForAPathThatFits) {
  EXPECT_EQ(CheckSocketPath("/tmp/device.sock"), "");
  EXPECT_THAT(CheckSocketPath(std::string(108, 'a')), HasSubstr("108 bytes"));
}

}  // namespace
}  // namespace vfio_user
