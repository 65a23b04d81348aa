// `vfio-user demo`, which starts the second process itself.
#include <fcntl.h>
#include <sys/stat.h>
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
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_process.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
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
  EXPECT_THAT(end->exit_code, AnyOf(0, 128 + SIGINT));
  EXPECT_EQ(end->signal, 0);
  EXPECT_EQ(::kill(server, 0), -1);
}

TEST_F(DemoTest, SaysThatItWasStoppedBeforeItHadTheBytes) {
  const TempDir input;
  const std::string pipe = input.File("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const UniqueFd err = Memfd("");
  absl::StatusOr<ChildProcess> demo =
      ChildProcess::Spawn(ToolPath(), {"demo", "--file", pipe}, {-1, -1, err.get()});
  ASSERT_THAT(demo, IsOk());
  const UniqueFd writer(::open(pipe.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(writer.valid());
  // More than a pipe holds: when all is written, it reads.
  const std::string data(1 << 20, 'x');
  ASSERT_EQ(::write(writer.get(), data.data(), data.size()), static_cast<ssize_t>(data.size()));

  demo->Signal(SIGINT);

  const absl::StatusOr<ProcessEnd> end = demo->Wait(absl::Seconds(60));
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->exit_code, 128 + SIGINT);
  EXPECT_EQ(end->signal, 0);
  EXPECT_EQ(ContentOf(err), "vfio-user: getting the bytes to move: stopped by SIGINT\n");
}

}  // namespace
}  // namespace vfio_user
