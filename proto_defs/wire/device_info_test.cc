#include "proto_defs/wire/device_info.h"

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/invalid_argument_matcher.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

TEST(DeviceInfoRequestTest, ParsesAndSerializesTheSpecifiedBytes) {
  const std::vector<uint8_t> bytes = Hex("10000000 00000000 00000000 00000000");

  const absl::StatusOr<DeviceInfoRequest> request = DeviceInfoRequest::Parse(bytes);

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->argsz, 16u);
  EXPECT_EQ(Serialize(*request), bytes);
}

TEST(DeviceInfoRequestTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = Hex("10000000 00000000 00000000 00000000");
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THAT(DeviceInfoRequest::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DEVICE_GET_INFO: body is"))
        << length;
  }
}

TEST(DeviceInfoRequestTest, RejectsAShortArgsz) {
  EXPECT_THAT(DeviceInfoRequest::Parse(Hex("0f000000 00000000 00000000 00000000")),
              IsInvalidArgument("argsz is 15, want at least 16"));
}

TEST(DeviceInfoRequestTest, TakesALongerBodyAndArgsz) {
  std::vector<uint8_t> bytes = Hex("20000000 00000000 00000000 00000000");
  bytes.resize(32);

  const absl::StatusOr<DeviceInfoRequest> request = DeviceInfoRequest::Parse(bytes);

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->argsz, 32u);
}

std::vector<uint8_t> InfoBytes() {
  return Hex(
      "10 00 00 00"    // argsz
      "03 00 00 00"    // flags: reset, pci
      "09 00 00 00"    // regions
      "05 00 00 00");  // interrupt types
}

DeviceInfo Info() {
  return {.flags = DeviceInfoFlags(DeviceInfoFlag::kReset) | DeviceInfoFlag::kPci,
          .num_regions = kPciRegionCount,
          .num_irqs = kPciIrqCount};
}

TEST(DeviceInfoTest, ParsesTheSpecifiedBytes) {
  const absl::StatusOr<DeviceInfo> info = DeviceInfo::Parse(InfoBytes());

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(*info, Info());
}

TEST(DeviceInfoTest, SerializesToTheSpecifiedBytes) { EXPECT_EQ(Serialize(Info()), InfoBytes()); }

TEST(DeviceInfoTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = InfoBytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THAT(DeviceInfo::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DEVICE_GET_INFO reply: body is"))
        << length;
  }
}

TEST(DeviceInfoTest, DropsWhatANewerServerAdds) {
  for (size_t bit = 2; bit < 32; ++bit) {
    std::vector<uint8_t> bytes = InfoBytes();
    bytes[4 + bit / 8] |= static_cast<uint8_t>(1 << bit % 8);
    bytes.resize(24);

    const absl::StatusOr<DeviceInfo> info = DeviceInfo::Parse(bytes);

    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(*info, Info());
  }
}

TEST(DeviceInfoTest, PassesCountsOnUnjudged) {
  const absl::StatusOr<DeviceInfo> info =
      DeviceInfo::Parse(Hex("10000000 00000000 ffffffff ffffffff"));

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->num_regions, UINT32_MAX);
  EXPECT_EQ(info->num_irqs, UINT32_MAX);
}

}  // namespace
}  // namespace vfio_user
