// `vfio-user bench`, with a server of its own and with another's.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_process.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(BenchTest, MeasuresAllPathsAndSizesWithAServerOfItsOwn) {
  const ToolRun run = RunTool({"bench", "--seconds", "1", "--json"});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, IsEmpty());
  const nlohmann::json json = nlohmann::json::parse(run.out);
  EXPECT_GT(json["register_read"]["latency_seconds"]["samples"], 0);
  EXPECT_GT(json["ping_pong"]["latency_seconds"]["p50"], 0);
  ASSERT_EQ(json["raw_copies"].size(), 20u);
  ASSERT_EQ(json["transfers"].size(), 30u);
  for (const nlohmann::json& one : json["transfers"]) {
    EXPECT_GT(one["bytes_per_second"], 0) << one;
    EXPECT_GT(one["latency_seconds"]["p50"], 0) << one;
    EXPECT_GE(one["latency_seconds"]["max"], one["latency_seconds"]["p50"]) << one;
  }
  EXPECT_EQ(json["transfers"][0]["bytes"], 64);
  EXPECT_EQ(json["transfers"][29]["bytes"], 16 << 20);
}

TEST(BenchTest, PrintsATableAndWritesAPage) {
  TempDir directory;
  const std::string page = directory.File("bench.html");

  const ToolRun run = RunTool({"bench", "--seconds", "1", "--html", page});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("register read"));
  EXPECT_THAT(run.out, HasSubstr("file-io        64 B"));
  EXPECT_THAT(run.out, HasSubstr("message    16.0 MiB"));
  EXPECT_THAT(run.out, HasSubstr("memcpy         64 B"));
  EXPECT_THAT(run.out, HasSubstr("pread      16.0 MiB"));
  EXPECT_THAT(ReadFile(page), HasSubstr("Throughput by size"));
}

class BenchOfServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<ChildServer> server = StartServer("null");
    ASSERT_THAT(server, IsOk());
    server_.emplace(std::move(*server));
  }

  std::string socket() const { return server_->socket_path(); }

  std::optional<ChildServer> server_;
};

TEST_F(BenchOfServerTest, ReadsConfigSpaceOnly) {
  const ToolRun run = RunTool({"bench", socket(), "--seconds", "1", "--json"});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json json = nlohmann::json::parse(run.out);
  EXPECT_EQ(json["register_read"]["region"], "config");
  EXPECT_EQ(json["register_read"]["offset"], 0);
  EXPECT_GT(json["register_read"]["latency_seconds"]["samples"], 0);
  EXPECT_TRUE(json["transfers"].empty());
  EXPECT_TRUE(json["raw_copies"].empty());
  EXPECT_GT(json["ping_pong"]["latency_seconds"]["samples"], 0);
}

TEST_F(BenchOfServerTest, ReadsTheRegisterThatItIsTold) {
  const ToolRun run = RunTool({"bench", socket(), "--seconds", "1", "--region", "bar0", "--offset",
                               "0x10", "--width", "8"});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("bar0+0x10, 8 bytes"));
}

TEST_F(BenchOfServerTest, RefusesARegisterThatTheDeviceDoesNotHave) {
  EXPECT_EQ(RunTool({"bench", socket(), "--region", "bar5"}).exit_code, 1);
  EXPECT_EQ(RunTool({"bench", socket(), "--offset", "0x100000"}).exit_code, 1);
}

TEST(BenchTest, RejectsWhatCannotBe) {
  EXPECT_EQ(RunTool({"bench", "--seconds", "0"}).exit_code, 2);
  EXPECT_EQ(RunTool({"bench", "--html", "/nonexistent/page"}).exit_code, 2);
  EXPECT_EQ(RunTool({"bench", "/nonexistent"}).exit_code, 1);
}

// A measurement that would go on for an hour, and what it says.
class LongBenchTest : public BenchOfServerTest {
 protected:
  // Returns once it is connected, and so long past blocking the signals that end it.
  void Start(std::vector<std::string> arguments) {
    absl::StatusOr<Pipe> talk = MakePipe();
    ASSERT_THAT(talk, IsOk());
    arguments.insert(arguments.begin(), "bench");
    arguments.insert(arguments.end(), {"--seconds", "3600"});
    absl::StatusOr<ChildProcess> bench = ChildProcess::Spawn(
        ToolPath(), arguments, {.in = -1, .out = -1, .err = talk->write_end.get()});
    ASSERT_THAT(bench, IsOk());
    bench_.emplace(*std::move(bench));
    talk_ = std::move(talk->read_end);
    ASSERT_TRUE(AwaitSecondThread());
  }

  int ExitCode() {
    const absl::StatusOr<ProcessEnd> end = bench_->Wait(absl::Seconds(60));
    return end.ok() ? end->exit_code : -1;
  }

  // All of it, once the process has ended.
  std::string Said() const {
    std::array<char, 4096> text;
    const ssize_t bytes = ::read(talk_.get(), text.data(), text.size());
    return {text.data(), static_cast<size_t>(std::max<ssize_t>(bytes, 0))};
  }

  std::optional<ChildProcess> bench_;

 private:
  // The client's, which it has from connecting on. Looked for time and again: no descriptor becomes
  // readable when another process begins a thread.
  bool AwaitSecondThread() const {
    const std::string tasks = fmt::format("/proc/{}/task", bench_->pid());
    const absl::Time until = absl::Now() + absl::Seconds(60);
    for (; absl::Now() < until; absl::SleepFor(absl::Milliseconds(1))) {
      std::error_code error;
      const std::filesystem::directory_iterator all(tasks, error);
      if (error) return false;
      if (std::distance(begin(all), end(all)) > 1) return true;
    }
    return false;
  }

  UniqueFd talk_;
};

TEST_F(LongBenchTest, EndsWithOneLineWhenItIsStopped) {
  Start({});

  bench_->Signal(SIGINT);

  EXPECT_EQ(ExitCode(), 130);
  EXPECT_THAT(Said(), MatchesRegex("vfio-user: [^\n]*stopped by SIGINT\n"));
}

TEST_F(LongBenchTest, EndsWithOneLineWhenTheServerDies) {
  Start({socket()});

  server_->process().Signal(SIGKILL);

  EXPECT_EQ(ExitCode(), 1);
  EXPECT_THAT(Said(), MatchesRegex("vfio-user: [^\n]+\n"));
}

}  // namespace
}  // namespace vfio_user
