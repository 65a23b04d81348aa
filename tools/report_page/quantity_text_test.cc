#include "tools/report_page/quantity_text.h"

#include "gtest/gtest.h"
#include "tools/report_page/plot_unit.h"

namespace vfio_user {
namespace {

TEST(QuantityTextTest, WritesBytesInPowersOf1024) {
  EXPECT_EQ(QuantityText(64, PlotUnit::kBytes), "64 B");
  EXPECT_EQ(QuantityText(16 << 20, PlotUnit::kBytes), "16 MiB");
  EXPECT_EQ(QuantityText(1.5 * (1 << 30), PlotUnit::kBytesPerSecond), "1.50 GiB/s");
}

TEST(QuantityTextTest, WritesSecondsInTheUnitThatFits) {
  EXPECT_EQ(QuantityText(12.34e-6, PlotUnit::kSeconds), "12.3 µs");
  EXPECT_EQ(QuantityText(5e-9, PlotUnit::kSeconds), "5 ns");
  EXPECT_EQ(QuantityText(2, PlotUnit::kSeconds), "2 s");
  EXPECT_EQ(QuantityText(0.9999e-6, PlotUnit::kSeconds), "1.00 µs");
}

TEST(QuantityTextTest, GroupsTheDigitsOfCounts) {
  EXPECT_EQ(QuantityText(7, PlotUnit::kCount), "7");
  EXPECT_EQ(QuantityText(65535, PlotUnit::kCount), "65,535");
  EXPECT_EQ(QuantityText(1234567, PlotUnit::kPerSecond), "1,234,567/s");
}

}  // namespace
}  // namespace vfio_user
