#include "tools/vfio_user/byte_text.h"

#include <cstdint>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(ByteTextTest, CountsWholeBytesBelowOneKibibyte) {
  EXPECT_EQ(ByteText(0), "0 B");
  EXPECT_EQ(ByteText(1023), "1023 B");
}

TEST(ByteTextTest, HasOneDecimalAbove) {
  EXPECT_EQ(ByteText(1024), "1.0 KiB");
  EXPECT_EQ(ByteText(4097), "4.0 KiB");
  EXPECT_EQ(ByteText(3u << 29), "1.5 GiB");
}

TEST(ByteTextTest, TakesTheNextUnitRatherThanRoundingUpToIt) {
  EXPECT_EQ(ByteText((1u << 20) - 1), "1.0 MiB");
}

TEST(ByteTextTest, StaysWithTheLargestUnitForTheLargestNumber) {
  EXPECT_EQ(ByteText(UINT64_MAX), "16.0 EiB");
}

TEST(RateTextTest, DividesByTheTime) {
  EXPECT_EQ(RateText(3u << 20, absl::Seconds(2)), "1.5 MiB/s");
}

TEST(RateTextTest, SaysNothingWithoutATimeOrBytes) {
  EXPECT_EQ(RateText(4096, absl::ZeroDuration()), "-");
  EXPECT_EQ(RateText(0, absl::Seconds(1)), "-");
}

}  // namespace
}  // namespace vfio_user
