#include "client/dma/live_mappings.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "client/client_options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

LiveMapping At(uint64_t first) { return {{Iova{first}, 0x1000}, DmaPath::kMessage}; }

TEST(LiveMappingsTest, ClaimIsGivenOnce) {
  LiveMappings live;
  const LiveMappings::Id id = live.Add(At(0x1000));

  const std::optional<LiveMapping> claimed = live.Claim(id);
  ASSERT_TRUE(claimed.has_value());
  EXPECT_EQ(claimed->range, At(0x1000).range);
  live.Remove(id);

  EXPECT_FALSE(live.Claim(id).has_value());
}

TEST(LiveMappingsTest, ClaimWaitsUntilAnotherThreadIsDone) {
  LiveMappings live;
  const LiveMappings::Id id = live.Add(At(0x1000));
  ASSERT_TRUE(live.Claim(id).has_value());
  std::atomic<bool> removed = false;

  std::thread second([&] {
    EXPECT_FALSE(live.Claim(id).has_value());
    EXPECT_TRUE(removed);
  });
  removed = true;
  live.Remove(id);
  second.join();
}

TEST(LiveMappingsTest, ClaimingAllGivesEachOnce) {
  LiveMappings live;
  const LiveMappings::Id id = live.Add(At(0x1000));
  live.Add(At(0x2000));

  const std::vector<LiveMappings::Entry> all = live.BeginClaimAll();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].first, id);
  EXPECT_EQ(all[1].second.range, At(0x2000).range);
  for (const auto& [each, mapping] : all) live.Remove(each);
  live.EndClaimAll();

  EXPECT_FALSE(live.Claim(id).has_value());
  EXPECT_THAT(live.BeginClaimAll(), IsEmpty());
  live.EndClaimAll();
}

TEST(LiveMappingsTest, ClaimingOneAndClaimingAllExcludeEachOther) {
  LiveMappings live;
  std::atomic<int> claimers = 0;
  constexpr int kTimes = 500;

  std::thread unmapper([&] {
    for (int i = 0; i < kTimes; ++i) {
      const LiveMappings::Id id = live.Add(At(0x1000));
      if (!live.Claim(id)) continue;
      EXPECT_EQ(++claimers, 1);
      // As long as the server takes, or nearly.
      std::this_thread::yield();
      --claimers;
      live.Remove(id);
    }
  });
  for (int i = 0; i < kTimes; ++i) {
    const std::vector<LiveMappings::Entry> all = live.BeginClaimAll();
    EXPECT_EQ(++claimers, 1);
    for (const auto& [id, mapping] : all) live.Remove(id);
    std::this_thread::yield();
    --claimers;
    live.EndClaimAll();
  }
  unmapper.join();
}

TEST(LiveMappingsTest, MappingAndClaimingAllExcludeEachOther) {
  LiveMappings live;
  std::atomic<bool> making = false;
  std::atomic<bool> claiming = false;
  constexpr int kTimes = 200;

  std::thread mapper([&] {
    for (int i = 0; i < kTimes; ++i) {
      live.BeginMap();
      making = true;
      EXPECT_FALSE(claiming);
      live.Add(At(0x1000));
      making = false;
      live.EndMap();
    }
  });
  size_t unmapped = 0;
  for (int i = 0; i < kTimes; ++i) {
    const std::vector<LiveMappings::Entry> all = live.BeginClaimAll();
    claiming = true;
    EXPECT_FALSE(making);
    for (const auto& [id, mapping] : all) live.Remove(id);
    unmapped += all.size();
    claiming = false;
    live.EndClaimAll();
  }
  mapper.join();
  unmapped += live.BeginClaimAll().size();
  live.EndClaimAll();

  EXPECT_EQ(unmapped, size_t{kTimes});
}

TEST(LiveMappingsTest, FindsWhatHasBytesInARange) {
  LiveMappings live;
  live.Add(At(0x3000));
  live.Add(At(0x1000));
  live.Add({{Iova{UINT64_MAX - 0xfff}, 0x1000}, DmaPath::kFileIo});

  EXPECT_THAT(live.Overlapping({Iova{0x2000}, 0x1000}), IsEmpty());
  EXPECT_THAT(live.Overlapping({Iova{0x2000}, 0}), IsEmpty());
  EXPECT_THAT(live.Overlapping({Iova{0x1fff}, 0x1001}), SizeIs(1));
  EXPECT_THAT(live.Overlapping({Iova{0x1fff}, 0x1002}), SizeIs(2));
  EXPECT_THAT(live.Overlapping({Iova{UINT64_MAX}, 1}), SizeIs(1));
}

}  // namespace
}  // namespace vfio_user
