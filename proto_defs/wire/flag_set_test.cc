#include "proto_defs/wire/flag_set.h"

#include <cstdint>
#include <optional>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

enum class Color : uint32_t { kRed = 1, kGreen = 2, kBlue = 0x80000000 };
using Colors = FlagSet<Color>;

constexpr Colors kKnown = Colors(Color::kRed) | Color::kGreen | Color::kBlue;

TEST(FlagSetTest, IsEmptyByDefault) {
  constexpr Colors none;

  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.ToWire(), 0u);
  EXPECT_FALSE(none.Has(Color::kRed));
}

TEST(FlagSetTest, HasWhatWasPutIntoIt) {
  Colors colors = Color::kRed;
  colors |= Color::kBlue;

  EXPECT_TRUE(colors.Has(Color::kRed));
  EXPECT_FALSE(colors.Has(Color::kGreen));
  EXPECT_TRUE(colors.Has(Color::kBlue));
  EXPECT_FALSE(colors.empty());
  EXPECT_EQ(colors.ToWire(), 0x80000001u);
}

TEST(FlagSetTest, HasAllWantsEveryFlag) {
  const Colors colors = Colors(Color::kRed) | Color::kBlue;

  EXPECT_TRUE(colors.HasAll(Colors()));
  EXPECT_TRUE(colors.HasAll(Color::kRed));
  EXPECT_TRUE(colors.HasAll(colors));
  EXPECT_FALSE(colors.HasAll(Colors(Color::kRed) | Color::kGreen));
}

TEST(FlagSetTest, IntersectsAndCompares) {
  const Colors colors = Colors(Color::kRed) | Color::kBlue;

  EXPECT_EQ(colors & Color::kRed, Colors(Color::kRed));
  EXPECT_EQ(colors & Color::kGreen, Colors());
  EXPECT_NE(colors, Colors(Color::kRed));
}

TEST(FlagSetTest, FromWireTakesKnownBitsOnly) {
  for (int bit = 0; bit < 32; ++bit) {
    SCOPED_TRACE(bit);
    const uint32_t bits = uint32_t{1} << bit;

    const std::optional<Colors> colors = Colors::FromWire(bits, kKnown);

    EXPECT_EQ(colors.has_value(), bit == 0 || bit == 1 || bit == 31);
    if (colors) {
      EXPECT_EQ(colors->ToWire(), bits);
    }
  }
}

TEST(FlagSetTest, FromWireRejectsAnUnknownBitBesideKnownOnes) {
  EXPECT_EQ(Colors::FromWire(1 | 4, kKnown), std::nullopt);
}

TEST(FlagSetTest, KnownOfDropsUnknownBits) {
  EXPECT_EQ(Colors::KnownOf(0xffffffff, kKnown), kKnown);
  EXPECT_EQ(Colors::KnownOf(4, kKnown), Colors());
}

}  // namespace
}  // namespace vfio_user
