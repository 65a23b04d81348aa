#include "proto_defs/wire/hex_bytes.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(HexTest, ReadsBothCasesAndSkipsBlanks) {
  EXPECT_EQ(Hex("00 9a FF"
                "7f"),
            (std::vector<uint8_t>{0x00, 0x9a, 0xff, 0x7f}));
  EXPECT_TRUE(Hex("").empty());
}

TEST(HexDeathTest, AbortsOnWhatIsNoByte) {
  EXPECT_DEATH(Hex("0"), "");
  EXPECT_DEATH(Hex("0g"), "");
}

}  // namespace
}  // namespace vfio_user
