#include "tests/bench/bench_results.h"

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tests/bench/ratio_target.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

// What Google Benchmark writes, cut to what is looked at: a run, a repetition of it.
std::string RunJson(const std::string& name, const std::string& time) {
  return R"({"run_name":")" + name +
         R"(","run_type":"iteration","iterations":1,"time_unit":"us",)" + R"("real_time":)" + time +
         R"(,"items_per_second":)" + time + "}";
}

std::string Json(const std::string& targets, const std::string& runs) {
  return R"({"context":{"ratio_targets":")" + targets + R"("},"benchmarks":[)" + runs + "]}";
}

TEST(BenchResultsTest, TakesMediansUnderTheNamesThatWereRegistered) {
  const absl::StatusOr<BinaryResults> parsed = ParseBenchResults(
      "b", Json("", RunJson("A/64/iterations:5/real_time/threads:2", "3") + "," +
                        RunJson("A/64/iterations:5/real_time/threads:2", "1") + "," +
                        RunJson("A/64/iterations:5/real_time/threads:2", "9")));

  ASSERT_THAT(parsed, IsOk());
  ASSERT_EQ(parsed->results.size(), 1u);
  EXPECT_EQ(parsed->results[0].name, "A/64/threads:2");
  EXPECT_EQ(parsed->results[0].repetitions, 3u);
  EXPECT_DOUBLE_EQ(parsed->results[0].seconds, 3e-6);
  EXPECT_DOUBLE_EQ(parsed->results[0].counters.at("items_per_second"), 3);
}

TEST(BenchResultsTest, HasBenchmarksInTheOrderInWhichTheyWereRegistered) {
  const absl::StatusOr<BinaryResults> parsed = ParseBenchResults(
      "b", Json("", R"({"run_name":"B","run_type":"iteration","real_time":1,"family_index":1},)"
                    R"({"run_name":"A","run_type":"iteration","real_time":1,"family_index":0})"));

  ASSERT_THAT(parsed, IsOk());
  ASSERT_EQ(parsed->results.size(), 2u);
  EXPECT_EQ(parsed->results[0].name, "A");
}

TEST(BenchResultsTest, LeavesOutAggregatesAndRunsThatFailed) {
  const absl::StatusOr<BinaryResults> parsed = ParseBenchResults(
      "b", Json("", R"({"run_name":"A","run_type":"aggregate","real_time":1},)"
                    R"({"run_name":"B","run_type":"iteration","error_occurred":true})"));

  ASSERT_THAT(parsed, IsOk());
  EXPECT_TRUE(parsed->results.empty());
}

TEST(BenchResultsTest, JudgesRatiosAndFiguresByBothBounds) {
  const std::string targets =
      R"([{\"benchmark\":\"A\",\"raw\":\"B\",\"at_most\":0.5},)"
      R"({\"benchmark\":\"A\",\"raw\":\"B\",\"at_least\":0.6,\"counter\":\"items_per_second\"},)"
      R"({\"benchmark\":\"A\",\"raw\":\"\",\"at_most\":2000},)"
      R"({\"benchmark\":\"A\",\"raw\":\"C\",\"at_most\":1}])";

  const absl::StatusOr<BinaryResults> parsed =
      ParseBenchResults("b", Json(targets, RunJson("A", "2") + "," + RunJson("B", "4")));

  ASSERT_THAT(parsed, IsOk());
  ASSERT_EQ(parsed->targets.size(), 4u);
  EXPECT_DOUBLE_EQ(*parsed->targets[0].figure, 0.5);
  EXPECT_TRUE(parsed->targets[0].reached());
  EXPECT_FALSE(parsed->targets[1].reached());
  EXPECT_DOUBLE_EQ(*parsed->targets[2].figure, 2000);
  EXPECT_TRUE(parsed->targets[2].reached());
  EXPECT_FALSE(parsed->targets[3].figure.has_value());
  EXPECT_FALSE(parsed->targets[3].reached());
}

TEST(BenchResultsTest, SaysWhatHalfOfTheRepetitionsLieBetween) {
  const std::string targets = R"([{\"benchmark\":\"A\",\"raw\":\"B\",\"at_most\":1}])";
  std::string runs = RunJson("B", "2");
  for (const char* time : {"10", "2", "4", "6", "8"}) runs += "," + RunJson("A", time);
  for (int i = 0; i < 4; ++i) runs += "," + RunJson("B", "2");

  const absl::StatusOr<BinaryResults> parsed = ParseBenchResults("b", Json(targets, runs));

  ASSERT_THAT(parsed, IsOk());
  ASSERT_EQ(parsed->targets.size(), 1u);
  EXPECT_DOUBLE_EQ(*parsed->targets[0].figure, 3);
  EXPECT_DOUBLE_EQ(parsed->targets[0].quartiles.low, 2);
  EXPECT_DOUBLE_EQ(parsed->targets[0].quartiles.high, 4);
}

TEST(BenchResultsTest, RejectsWhatNoBenchmarkWrote) {
  for (const char* json : {"", "{", "[]", "{}"}) {
    EXPECT_THAT(ParseBenchResults("b", json), StatusIs(absl::StatusCode::kDataLoss)) << json;
  }
}

TEST(RatioTargetTest, SurvivesJson) {
  const RatioTarget target = {
      .benchmark = "A", .raw = "B", .at_least = 1.6, .counter = "c", .note = "why", .what = "all"};

  const std::vector<RatioTarget> back = TargetsFromJson(TargetsToJson({target}));

  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].benchmark, "A");
  EXPECT_EQ(back[0].counter, "c");
  EXPECT_EQ(back[0].note, "why");
  EXPECT_EQ(back[0].what, "all");
  EXPECT_EQ(BoundsText(back[0]), "at least 1.6");
}

}  // namespace
}  // namespace vfio_user
