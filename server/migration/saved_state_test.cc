#include "server/migration/saved_state.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SavedState Example() {
  return {.name = "ab",
          .config = {std::byte{1}},
          .interrupts = {std::byte{2}, std::byte{3}},
          .device = {std::byte{4}, std::byte{5}, std::byte{6}}};
}

TEST(SavedStateTest, IsTheBytesThatItsHeaderDraws) {
  EXPECT_THAT(Example().ToStream(), ElementsAre('V', 'F', 'U', 'S', 'T', 'A', 'T', 'E',  //
                                                1, 0, 0, 0, 2, 0, 0, 0,                  //
                                                1, 0, 0, 0, 2, 0, 0, 0,                  //
                                                3, 0, 0, 0, 0, 0, 0, 0,                  //
                                                'a', 'b', 1, 2, 3, 4, 5, 6,              //
                                                0xa8, 0xda, 0x31, 0x50));
}

TEST(SavedStateTest, ComesBackAsItWas) {
  EXPECT_THAT(SavedState::Parse(Example().ToStream()), IsOkAndHolds(Example()));
  EXPECT_THAT(SavedState::Parse(SavedState().ToStream()), IsOkAndHolds(SavedState()));
}

TEST(SavedStateTest, RejectsEveryChangeOfABit) {
  const std::vector<uint8_t> good = Example().ToStream();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::vector<uint8_t> bad = good;
    bad[bit / 8] = static_cast<uint8_t>(bad[bit / 8] ^ 1 << bit % 8);

    EXPECT_THAT(SavedState::Parse(bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bit;
  }
}

TEST(SavedStateTest, RejectsEveryLengthButItsOwn) {
  std::vector<uint8_t> stream = Example().ToStream();
  for (size_t bytes = 0; bytes < stream.size(); ++bytes) {
    EXPECT_THAT(SavedState::Parse(std::span(stream).first(bytes)),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << bytes;
  }
  stream.push_back(0);

  EXPECT_THAT(SavedState::Parse(stream), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(SavedStateTest, RejectsLengthsBeyondItsEndAndBeyondAllNumbers) {
  for (const size_t at : {12u, 16u, 20u, 24u, 28u}) {
    std::vector<uint8_t> stream = Example().ToStream();
    for (size_t i = 0; i < 4; ++i) stream[at + i] = 0xff;

    EXPECT_THAT(SavedState::Parse(stream), StatusIs(absl::StatusCode::kInvalidArgument)) << at;
  }
}

TEST(SavedStateTest, SaysWhatIsWrong) {
  std::vector<uint8_t> stream = Example().ToStream();
  stream[8] = 2;
  EXPECT_THAT(SavedState::Parse(stream),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("version is 2, want 1")));

  stream[0] = 'X';
  EXPECT_THAT(SavedState::Parse(stream),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("it begins with")));
}

}  // namespace
}  // namespace vfio_user
