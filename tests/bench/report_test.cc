// The report of one benchmark that is short.
#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ReportTest, WritesJsonAndAPage) {
  TempDir directory;

  const ToolRun run = RunProgram(ProgramPath("tests/bench/report"),
                                 {"--out", directory.path(), "--repetitions", "1", "--min-time",
                                  "0.001", ProgramPath("tests/bench/latency_bench")});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("1 of 1"));
  const nlohmann::json json = nlohmann::json::parse(ReadFile(directory.File("report.json")));
  EXPECT_EQ(json["binaries"][0]["results"].size(), 3u);
  EXPECT_THAT(ReadFile(directory.File("report.html")), HasSubstr("A register read: latency"));
  EXPECT_THAT(
      ReadFile(directory.File("report.md")),
      HasSubstr("| percentile | register read | register read, busy-polling | ping-pong |"));
}

TEST(ReportTest, SaysWhichBinaryFailedAndKeepsWhatTheOthersFound) {
  TempDir directory;

  const ToolRun run = RunProgram(ProgramPath("tests/bench/report"),
                                 {"--out", directory.path(), "--repetitions", "1", "--min-time",
                                  "0.001", "/bin/false", ProgramPath("tests/bench/latency_bench")});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("report: false ended with exit code 1"));
  EXPECT_THAT(ReadFile(directory.File("report.md")), HasSubstr("A register read: latency"));
}

}  // namespace
}  // namespace vfio_user
