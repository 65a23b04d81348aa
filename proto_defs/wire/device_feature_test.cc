#include "proto_defs/wire/device_feature.h"

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/invalid_argument_matcher.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

std::vector<uint8_t> FeatureBytes() {
  return Hex(
      "10 00 00 00"                // argsz
      "02 00 02 00"                // flags: feature 2, set
      "03 00 00 00 00 00 00 00");  // data
}

DeviceFeature SetState() {
  return {.argsz = 16,
          .feature = Feature::kMigDeviceState,
          .ops = FeatureOp::kSet,
          .data = {3, 0, 0, 0, 0, 0, 0, 0}};
}

TEST(DeviceFeatureTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<DeviceFeature> feature = DeviceFeature::Parse(FeatureBytes());

  ASSERT_TRUE(feature.ok()) << feature.status();
  EXPECT_EQ(*feature, SetState());
  EXPECT_EQ(Serialize(*feature), FeatureBytes());
}

TEST(DeviceFeatureTest, RejectsEveryTruncationOfTheFixedPart) {
  const std::vector<uint8_t> bytes = FeatureBytes();
  for (size_t length = 0; length < DeviceFeature::kBytes; ++length) {
    EXPECT_THAT(DeviceFeature::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DEVICE_FEATURE: body is"))
        << length;
  }
  EXPECT_TRUE(DeviceFeature::Parse(std::span(bytes).first(8)).ok());
}

TEST(DeviceFeatureTest, RejectsAShortArgsz) {
  std::vector<uint8_t> bytes = FeatureBytes();
  bytes[0] = 7;

  EXPECT_THAT(DeviceFeature::Parse(bytes), IsInvalidArgument("argsz is 7"));
}

TEST(DeviceFeatureTest, RejectsEveryUnknownFlag) {
  for (size_t bit = 19; bit < 32; ++bit) {
    std::vector<uint8_t> bytes = FeatureBytes();
    bytes[4 + bit / 8] |= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_THAT(DeviceFeature::Parse(bytes), IsInvalidArgument("DEVICE_FEATURE: flags are")) << bit;
  }
}

TEST(DeviceFeatureTest, TakesAnyFeatureNumber) {
  for (const uint32_t number : {0u, 9u, 10u, 0xffffu}) {
    std::vector<uint8_t> bytes = Hex("08000000 0000 0100");
    std::memcpy(&bytes[4], &number, 2);

    const absl::StatusOr<DeviceFeature> feature = DeviceFeature::Parse(bytes);

    ASSERT_TRUE(feature.ok()) << feature.status();
    EXPECT_EQ(static_cast<uint32_t>(feature->feature), number);
    EXPECT_EQ(feature->ops, FeatureOps(FeatureOp::kGet));
  }
}

TEST(DeviceFeatureTest, WantsOneOperationOrAProbe) {
  for (uint8_t ops = 0; ops < 8; ++ops) {
    std::vector<uint8_t> bytes = FeatureBytes();
    bytes[6] = ops;
    // 1 get, 2 set, 4 probe.
    const bool good = ops != 0 && ops != 3;
    EXPECT_EQ(DeviceFeature::Parse(bytes).ok(), good) << int{ops};
  }
}

TEST(DeviceFeatureTest, SaysWhichOperationsAreWanted) {
  std::vector<uint8_t> none = FeatureBytes();
  none[6] = 0;
  EXPECT_THAT(DeviceFeature::Parse(none), IsInvalidArgument("want get, set or probe"));

  std::vector<uint8_t> both = FeatureBytes();
  both[6] = 3;
  EXPECT_THAT(DeviceFeature::Parse(both), IsInvalidArgument("only with probe"));
}

TEST(MigrationFeatureTest, ParsesAndSerializesTheSpecifiedBytes) {
  const std::vector<uint8_t> bytes = Hex("05 00 00 00 00 00 00 00");

  const absl::StatusOr<MigrationFeature> feature = MigrationFeature::Parse(bytes);

  ASSERT_TRUE(feature.ok()) << feature.status();
  EXPECT_EQ(feature->flags, MigrationFlags(MigrationFlag::kStopCopy) | MigrationFlag::kPreCopy);
  EXPECT_EQ(Serialize(*feature), bytes);
}

TEST(MigrationFeatureTest, DropsUnknownFlags) {
  for (size_t bit = 3; bit < 64; ++bit) {
    std::vector<uint8_t> bytes = Hex("01 00 00 00 00 00 00 00");
    bytes[bit / 8] |= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_EQ(MigrationFeature::Parse(bytes)->flags, MigrationFlags(MigrationFlag::kStopCopy));
  }
}

TEST(MigrationFeatureTest, RejectsEveryOtherLength) {
  const std::vector<uint8_t> bytes(9);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 8) continue;
    EXPECT_THAT(MigrationFeature::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("MIGRATION feature: body is"))
        << length;
  }
}

TEST(MigDeviceStateTest, ParsesAndSerializesTheSpecifiedBytes) {
  const std::vector<uint8_t> bytes = Hex("03 00 00 00 ff ff ff ff");

  const absl::StatusOr<MigDeviceState> state = MigDeviceState::Parse(bytes);

  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(*state, (MigDeviceState{.state = MigState::kStopCopy, .data_fd = -1}));
  EXPECT_EQ(Serialize(*state), bytes);
}

TEST(MigDeviceStateTest, RejectsEveryOtherLength) {
  const std::vector<uint8_t> bytes(9);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 8) continue;
    EXPECT_THAT(MigDeviceState::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("MIG_DEVICE_STATE feature: body is"))
        << length;
  }
}

TEST(MigDataSizeTest, ParsesAndSerializesTheSpecifiedBytes) {
  const std::vector<uint8_t> bytes = Hex("08 07 06 05 04 03 02 01");

  const absl::StatusOr<MigDataSize> size = MigDataSize::Parse(bytes);

  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_EQ(*size, (MigDataSize{.stop_copy_length = 0x0102030405060708}));
  EXPECT_EQ(Serialize(*size), bytes);
  EXPECT_THAT(MigDataSize::Parse(std::span(bytes).first(7)),
              IsInvalidArgument("MIG_DATA_SIZE feature: body is"));
}

std::vector<uint8_t> StartBytes() {
  return Hex(
      "00 10 00 00 00 00 00 00"    // page_size
      "02 00 00 00"                // num_ranges
      "00 00 00 00"                // reserved
      "00 00 01 00 00 00 00 00"    // iova
      "00 20 00 00 00 00 00 00"    // length
      "00 f0 ff ff ff ff ff ff"    // iova
      "00 10 00 00 00 00 00 00");  // length, up to the last byte
}

DmaLoggingStart Start() {
  return {.page_size = 0x1000,
          .ranges = {{.address = Iova{0x10000}, .length = 0x2000},
                     {.address = Iova{0xfffffffffffff000}, .length = 0x1000}}};
}

TEST(DmaLoggingStartTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<DmaLoggingStart> start = DmaLoggingStart::Parse(StartBytes());

  ASSERT_TRUE(start.ok()) << start.status();
  EXPECT_EQ(*start, Start());
  EXPECT_EQ(Serialize(*start), StartBytes());
}

TEST(DmaLoggingStartTest, RejectsEveryTruncationAndMore) {
  std::vector<uint8_t> bytes = StartBytes();
  bytes.push_back(0);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 48) continue;
    EXPECT_THAT(DmaLoggingStart::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DMA_LOGGING_START: "))
        << length;
  }
}

TEST(DmaLoggingStartTest, RejectsMoreRangesThanThereAre) {
  for (const uint32_t count : {3u, 0x10000002u, UINT32_MAX}) {
    std::vector<uint8_t> bytes = StartBytes();
    std::memcpy(&bytes[8], &count, sizeof(count));
    EXPECT_THAT(DmaLoggingStart::Parse(bytes), IsInvalidArgument("32 bytes of ranges")) << count;
  }
}

TEST(DmaLoggingStartTest, RejectsPageSizesAndRangesThatMeanNothing) {
  DmaLoggingStart start = Start();
  start.page_size = 0;
  EXPECT_THAT(DmaLoggingStart::Parse(Serialize(start)), IsInvalidArgument("page_size is 0"));

  start = Start();
  start.ranges[0].length = 0;
  EXPECT_THAT(DmaLoggingStart::Parse(Serialize(start)), IsInvalidArgument("length is 0"));

  start = Start();
  start.ranges[1].length = 0x1001;
  EXPECT_THAT(DmaLoggingStart::Parse(Serialize(start)), IsInvalidArgument("passes"));
}

std::vector<uint8_t> ReportBytes() {
  return Hex(
      "00 00 01 00 00 00 00 00"    // iova
      "00 00 04 00 00 00 00 00"    // length: 64 pages
      "00 10 00 00 00 00 00 00"    // page_size
      "01 00 00 00 00 00 00 80");  // bitmap
}

DmaLoggingReport Report() {
  return {.address = Iova{0x10000},
          .length = 0x40000,
          .page_size = 0x1000,
          .bitmap = {1, 0, 0, 0, 0, 0, 0, 0x80}};
}

TEST(DmaLoggingReportTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<DmaLoggingReport> report = DmaLoggingReport::Parse(ReportBytes());

  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(*report, Report());
  EXPECT_EQ(Serialize(*report), ReportBytes());
}

TEST(DmaLoggingReportTest, ParsesARequestWithoutABitmap) {
  const std::vector<uint8_t> bytes = ReportBytes();

  const absl::StatusOr<DmaLoggingReport> report =
      DmaLoggingReport::Parse(std::span(bytes).first(24));

  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->bitmap.empty());
}

TEST(DmaLoggingReportTest, RejectsEveryOtherLength) {
  std::vector<uint8_t> bytes = ReportBytes();
  bytes.resize(40);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 24 || length == 32) continue;
    EXPECT_THAT(DmaLoggingReport::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DMA_LOGGING_REPORT: "))
        << length;
  }
}

TEST(DmaLoggingReportTest, RejectsPageSizesAndRangesThatMeanNothing) {
  DmaLoggingReport report = Report();
  report.page_size = 3;
  EXPECT_THAT(DmaLoggingReport::Parse(Serialize(report)), IsInvalidArgument("page_size is 0x3"));

  report = Report();
  report.length = 0;
  EXPECT_THAT(DmaLoggingReport::Parse(Serialize(report)), IsInvalidArgument("length is 0"));

  report = Report();
  report.length = UINT64_MAX;
  EXPECT_THAT(DmaLoggingReport::Parse(Serialize(report)), IsInvalidArgument("passes"));
}

TEST(DmaLoggingReportTest, CountsBitmapBytesInWholeWords) {
  const auto bitmap_bytes = [](uint64_t length, uint64_t page_size) {
    return DmaLoggingReport{.length = length, .page_size = page_size}.BitmapBytes();
  };

  EXPECT_EQ(bitmap_bytes(1, 4096), 8u);
  EXPECT_EQ(bitmap_bytes(64 * 4096, 4096), 8u);
  EXPECT_EQ(bitmap_bytes(64 * 4096 + 1, 4096), 16u);
  EXPECT_EQ(bitmap_bytes(UINT64_MAX, 1), uint64_t{1} << 61);
  EXPECT_EQ(bitmap_bytes(UINT64_MAX, uint64_t{1} << 63), 8u);
}

}  // namespace
}  // namespace vfio_user
