// `vfio-user demo`, which starts the second process itself.
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_process.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class DemoTest : public ::testing::Test {
 protected:
  // Where the demo's own directory will be, so that what it leaves behind is seen.
  void SetUp() override { ASSERT_EQ(::setenv("TMPDIR", directory_.path().c_str(), 1), 0); }
  void TearDown() override { EXPECT_TRUE(std::filesystem::is_empty(directory_.path())); }

  TempDir directory_;
};

TEST_F(DemoTest, MovesGeneratedDataByEveryPath) {
  // Three pieces for the device, the last one of a byte.
  const ToolRun run = RunTool({"demo", "--size", "0x2000001"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("path      memory"), HasSubstr("file-io   malloc      33554433"),
                    HasSubstr("mmap      memfd       33554433"),
                    HasSubstr("message   malloc      33554433")));
  EXPECT_THAT(run.out, Not(HasSubstr("NO")));
  EXPECT_THAT(run.err, HasSubstr("A second process (pid "));
}

TEST_F(DemoTest, MovesAFileByOnePathAndPrintsJson) {
  const ToolRun run = RunTool({"demo", "--file", ToolPath(), "--path", "file-io", "--json"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json json = nlohmann::json::parse(run.out);
  ASSERT_EQ(json.size(), 1u);
  EXPECT_EQ(json[0]["path"], "file-io");
  EXPECT_EQ(json[0]["memory"], "malloc");
  EXPECT_EQ(json[0]["bytes"], std::filesystem::file_size(ToolPath()));
  EXPECT_EQ(json[0]["verified"], true);
}

TEST_F(DemoTest, TakesAnEmptyFile) {
  const ToolRun run = RunTool({"demo", "--file", "/dev/null", "--json"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(nlohmann::json::parse(run.out).size(), 3u);
}

TEST_F(DemoTest, EndsTheServerWhenItIsStopped) {
  absl::StatusOr<Pipe> talk = MakePipe();
  ASSERT_THAT(talk, IsOk());
  absl::StatusOr<ChildProcess> demo = ChildProcess::Spawn(
      ToolPath(), {"demo", "--size", "64M", "--path", "message"}, {-1, -1, talk->write_end.get()});
  ASSERT_THAT(demo, IsOk());
  // It says the server's pid first, and then starts to move the bytes.
  constexpr std::string_view kBefore = "A second process (pid ";
  std::string said;
  char c = '\0';
  while (said.find(')') == std::string::npos && ::read(talk->read_end.get(), &c, 1) == 1) said += c;
  ASSERT_THAT(said, StartsWith(kBefore));
  const pid_t server = std::atoi(said.c_str() + kBefore.size());

  demo->Signal(SIGINT);

  const absl::StatusOr<ProcessEnd> end = demo->Wait(absl::Seconds(60));
  ASSERT_THAT(end, IsOk());
  // Whether or not the bytes were there already.
  EXPECT_LE(end->exit_code, 1);
  EXPECT_EQ(::kill(server, 0), -1);
}

}  // namespace
}  // namespace vfio_user
