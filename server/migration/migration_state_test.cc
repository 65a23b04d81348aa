#include "server/migration/migration_state.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/device_feature.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr MigState kStop = MigState::kStop;
constexpr MigState kRunning = MigState::kRunning;
constexpr MigState kStopCopy = MigState::kStopCopy;
constexpr MigState kResuming = MigState::kResuming;
constexpr MigState kPreCopy = MigState::kPreCopy;

constexpr std::array kStates = {kStop, kRunning, kStopCopy, kResuming, kPreCopy};

constexpr std::array<std::pair<MigState, MigState>, 9> kArcs = {{
    {kRunning, kStop},
    {kStop, kRunning},
    {kRunning, kPreCopy},
    {kPreCopy, kRunning},
    {kPreCopy, kStopCopy},
    {kStop, kStopCopy},
    {kStopCopy, kStop},
    {kStop, kResuming},
    {kResuming, kStop},
}};

bool Saves(MigState state) { return state == kPreCopy || state == kStopCopy; }

// By trying all ways, as the specification's rules say it.
std::optional<size_t> ShortestWay(MigState from, MigState to) {
  std::map<MigState, size_t> steps = {{from, 0}};
  std::deque<MigState> open = {from};
  while (!open.empty()) {
    const MigState at = open.front();
    open.pop_front();
    if (at == to) return steps[at];
    if (at != from && Saves(at)) continue;
    for (const auto& [begin, end] : kArcs) {
      if (begin == at && steps.emplace(end, steps[at] + 1).second) open.push_back(end);
    }
  }
  return std::nullopt;
}

TEST(MigrationPathTest, IsTheShortestThatDoesNotSaveInBetween) {
  for (const MigState from : kStates) {
    for (const MigState to : kStates) {
      if (from == kStopCopy && to == kPreCopy) continue;
      const auto path = MigrationPath(from, to);
      ASSERT_THAT(path, IsOk()) << static_cast<int>(from) << static_cast<int>(to);
      EXPECT_EQ(path->size(), ShortestWay(from, to));
      MigState at = from;
      for (const MigState next : *path) {
        EXPECT_THAT(kArcs, testing::Contains(std::pair(at, next)));
        EXPECT_TRUE(next == to || !Saves(next));
        at = next;
      }
      EXPECT_EQ(at, to);
    }
  }
}

TEST(MigrationPathTest, IsEmptyToTheStateItself) {
  for (const MigState state : kStates) {
    EXPECT_THAT(MigrationPath(state, state), IsOkAndHolds(IsEmpty()));
  }
}

TEST(MigrationPathTest, LeadsRoundSavingStates) {
  EXPECT_THAT(MigrationPath(kPreCopy, kStop), IsOkAndHolds(ElementsAre(kRunning, kStop)));
  EXPECT_THAT(MigrationPath(kRunning, kStopCopy), IsOkAndHolds(ElementsAre(kStop, kStopCopy)));
  EXPECT_THAT(MigrationPath(kResuming, kPreCopy),
              IsOkAndHolds(ElementsAre(kStop, kRunning, kPreCopy)));
}

TEST(MigrationPathTest, DoesNotLeadFromStopCopyBackToPreCopy) {
  const auto path = MigrationPath(kStopCopy, kPreCopy);

  EXPECT_EQ(ErrnoOf(path.status()), EINVAL);
  EXPECT_THAT(
      path, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("from stop-copy to pre-copy")));
}

TEST(MigrationPathTest, LeadsNeitherToErrorNorFromIt) {
  for (const MigState state : kStates) {
    EXPECT_EQ(ErrnoOf(MigrationPath(state, MigState::kError).status()), EINVAL);
    EXPECT_EQ(ErrnoOf(MigrationPath(MigState::kError, state).status()), EINVAL);
  }
  EXPECT_EQ(ErrnoOf(MigrationPath(MigState::kError, MigState::kError).status()), EINVAL);
}

TEST(MigrationPathTest, DoesNotLeadToStatesThatAreNotUsedOrNotKnown) {
  for (const uint32_t state : {5u, 7u, 8u, 0xabcdu, UINT32_MAX}) {
    for (const MigState from : kStates) {
      EXPECT_EQ(ErrnoOf(MigrationPath(from, MigState{state}).status()), EINVAL) << state;
    }
  }
}

TEST(DeviceRunsInTest, TellsTheStatesApart) {
  EXPECT_TRUE(DeviceRunsIn(kRunning));
  EXPECT_TRUE(DeviceRunsIn(kPreCopy));
  for (const MigState state : {kStop, kStopCopy, kResuming, MigState::kError}) {
    EXPECT_FALSE(DeviceRunsIn(state));
  }
}

}  // namespace
}  // namespace vfio_user
