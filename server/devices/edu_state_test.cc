#include "server/devices/edu_state.h"

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

EduState Some() {
  EduState state;
  state.registers = {.liveness = 1,
                     .factorial = 2,
                     .status = 0x81,
                     .interrupts = 4,
                     .dma_source = 5,
                     .dma_destination = 6,
                     .dma_count = 7,
                     .dma_command = 0x1'0000'0008};
  state.buffer.front() = std::byte{9};
  state.buffer.back() = std::byte{10};
  return state;
}

TEST(EduStateTest, ComesBackFromItsBytes) {
  const std::vector<std::byte> bytes = Some().Serialize();
  ASSERT_THAT(bytes, SizeIs(4 + 4 * 4 + 4 * 8 + 4096));
  EXPECT_EQ(bytes[0], std::byte{1});

  const absl::StatusOr<EduState> back = EduState::Parse(bytes);

  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(back->registers, Some().registers);
  EXPECT_EQ(back->buffer, Some().buffer);
}

TEST(EduStateTest, RefusesEveryOtherLength) {
  std::vector<std::byte> bytes = Some().Serialize();
  for (size_t length = 0; length < bytes.size(); ++length) {
    ASSERT_THAT(EduState::Parse(std::span(bytes).first(length)),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  bytes.push_back(std::byte{0});
  EXPECT_THAT(EduState::Parse(bytes), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(EduStateTest, RefusesAnotherVersion) {
  std::vector<std::byte> bytes = Some().Serialize();
  bytes[0] = std::byte{2};

  EXPECT_THAT(EduState::Parse(bytes),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("version is 2")));
}

TEST(EduStateTest, RefusesAStatusThatCannotBe) {
  EduState state = Some();
  state.registers.status = 0x40;

  EXPECT_THAT(EduState::Parse(state.Serialize()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("status is 0x40")));
}

}  // namespace
}  // namespace vfio_user
