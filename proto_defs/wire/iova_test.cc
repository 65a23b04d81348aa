#include "proto_defs/wire/iova.h"

#include <cstdint>
#include <optional>
#include <type_traits>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

static_assert(!std::is_convertible_v<Iova, uint64_t>);
static_assert(!std::is_convertible_v<uint64_t, Iova>);

TEST(IovaTest, KeepsAllBits) { EXPECT_EQ(ToU64(Iova{UINT64_MAX}), UINT64_MAX); }

TEST(LastByteTest, IsInclusive) {
  EXPECT_EQ(LastByte(Iova{0x1000}, 0x1000), Iova{0x1fff});
  EXPECT_EQ(LastByte(Iova{0}, 1), Iova{0});
}

TEST(LastByteTest, ReachesTheLastAddress) {
  EXPECT_EQ(LastByte(Iova{0}, UINT64_MAX), Iova{UINT64_MAX - 1});
  EXPECT_EQ(LastByte(Iova{1}, UINT64_MAX), Iova{UINT64_MAX});
  EXPECT_EQ(LastByte(Iova{UINT64_MAX}, 1), Iova{UINT64_MAX});
}

TEST(LastByteTest, HasNoneWhenEmptyOrPastTheLastAddress) {
  EXPECT_EQ(LastByte(Iova{0x1000}, 0), std::nullopt);
  EXPECT_EQ(LastByte(Iova{UINT64_MAX}, 2), std::nullopt);
  EXPECT_EQ(LastByte(Iova{2}, UINT64_MAX), std::nullopt);
  EXPECT_EQ(LastByte(Iova{0xfffffffffffff000}, 0x1001), std::nullopt);
}

}  // namespace
}  // namespace vfio_user
