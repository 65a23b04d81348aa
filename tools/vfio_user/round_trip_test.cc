#include "tools/vfio_user/round_trip.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(FillUnlikeTest, ChangesEveryByteAndNoneBeyond) {
  for (size_t size = 0; size <= 17; ++size) {
    const std::vector<std::byte> data = PseudoRandomBytes(size);
    std::vector<std::byte> out = data;
    out.push_back(std::byte{0x5a});

    FillUnlike(data, std::span(out).first(size));

    EXPECT_EQ(std::ranges::mismatch(data, out, std::not_equal_to<>()).in1, data.end()) << size;
    EXPECT_EQ(out.back(), std::byte{0x5a}) << size;
  }
}

}  // namespace
}  // namespace vfio_user
