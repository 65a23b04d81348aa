// Every subcommand as a user types it, its failures included.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// What every error looks like: one line, that starts with the tool's name.
MATCHER(IsOneErrorLine, "") {
  return arg.starts_with("vfio-user: ") && arg.find('\n') == arg.size() - 1;
}

size_t LongestLine(const std::string& text) {
  size_t longest = 0;
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    longest = std::max(longest, end - begin);
  }
  return longest;
}

TEST(CommandLineTest, HelpFitsATerminal) {
  EXPECT_LE(LongestLine(RunTool({"--help"}).out), 80u);
  for (const Subcommand& subcommand : Subcommands()) {
    EXPECT_LE(LongestLine(RunTool({subcommand.name, "--help"}).out), 80u) << subcommand.name;
  }
}

TEST(CommandLineTest, EverySubcommandExplainsItself) {
  for (const Subcommand& subcommand : Subcommands()) {
    const ToolRun run = RunTool({subcommand.name, "--help"});

    EXPECT_EQ(run.exit_code, 0) << subcommand.name;
    EXPECT_THAT(run.out, AllOf(HasSubstr(subcommand.help), HasSubstr("Examples:"),
                               HasSubstr("vfio-user " + std::string(subcommand.name))));
    EXPECT_THAT(run.err, IsEmpty()) << subcommand.name;
  }
}

TEST(CommandLineTest, HelpNamesEverySubcommand) {
  const ToolRun run = RunTool({"--help"});

  EXPECT_EQ(run.exit_code, 0);
  for (const Subcommand& subcommand : Subcommands()) {
    EXPECT_THAT(run.out, HasSubstr(subcommand.help));
  }
}

TEST(CommandLineTest, SaysItsVersion) {
  const ToolRun run = RunTool({"--version"});

  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "vfio-user 0.1.0\n");
}

TEST(CommandLineTest, RejectsAMissingCommand) {
  const ToolRun run = RunTool({});

  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.err, "vfio-user: a command is missing; see vfio-user --help\n");
  EXPECT_THAT(run.out, IsEmpty());
}

TEST(CommandLineTest, RejectsWhatNoCommandTakes) {
  const std::vector<std::vector<std::string>> command_lines = {
      {"nosuch"},
      {"--nosuch"},
      {"info"},
      {"info", "a", "b"},
      {"info", "a", "--nosuch"},
      {"read", "a", "bar0"},
      {"read", "a", "bar9", "0"},
      {"read", "a", "bar0", "zero"},
      {"read", "a", "bar0", "0", "--width", "3"},
      {"read", "a", "bar0", "0", "--count", "0"},
      {"irq", "a", "msix", "4294967296", "--trigger"},
      {"write", "a", "bar0", "0"},
      {"write", "a", "bar0", "0", "0x100", "--width", "1"},
      {"copy", "a", "--in", "/dev/null"},
      {"copy", "a", "--in", "/dev/null", "--out", "/dev/null", "--path", "teleport"},
      {"demo", "--path", "auto"},
      {"demo", "--size", "many"},
      {"demo", "--size", "0"},
      {"demo", "--size", "1", "--file", "/dev/null"},
      {"demo", "--file", "/nonexistent"},
      {"serve"},
      {"serve", "dma-copy"},
      {"serve", "toaster", "--socket", "a"},
      {"serve", "null", "--socket", "a", "--dma-mask", "0xfff"},
      {"serve", "edu", "--socket", "a", "--dma-mask", "wide"},
      {"serve", "null", "--socket", "a", "--busy-poll", "60000001"},
      {"info", std::string(200, 'a')},
  };
  for (const std::vector<std::string>& command_line : command_lines) {
    const ToolRun run = RunTool(command_line);

    EXPECT_EQ(run.exit_code, 2) << testing::PrintToString(command_line) << run.err;
    EXPECT_THAT(run.err, AllOf(IsOneErrorLine(), HasSubstr("; "))) << run.err;
    EXPECT_THAT(run.out, IsEmpty());
  }
}

TEST(CommandLineTest, RefusesASizeThatNoMemoryHas) {
  const ToolRun run = RunTool({"demo", "--size", "17179869183G"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, AllOf(IsOneErrorLine(), HasSubstr("no memory for this; use less data")));
}

TEST(CommandLineTest, NamesTheKnownDevicesWhenOneIsNotKnown) {
  const ToolRun run = RunTool({"serve", "toaster", "--socket", "a"});

  EXPECT_THAT(run.err, AllOf(HasSubstr("\"toaster\""), HasSubstr("dma-copy"), HasSubstr("null")));
}

TEST(CommandLineTest, ListsTheDevices) {
  const ToolRun run = RunTool({"serve", "--list"});

  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, AllOf(HasSubstr("dma-copy "), HasSubstr("edu "), HasSubstr("null ")));
}

TEST(CommandLineTest, SaysWhenNobodyServes) {
  TempDir directory;
  const std::string path = directory.File("none");
  const std::vector<std::vector<std::string>> command_lines = {
      {"info", path},
      {"read", path, "bar0", "0"},
      {"write", path, "bar0", "0", "0"},
      {"reset", path},
      {"copy", path, "--in", "/dev/null", "--out", directory.File("out")},
  };
  for (const std::vector<std::string>& command_line : command_lines) {
    const ToolRun run = RunTool(command_line);

    EXPECT_EQ(run.exit_code, 1) << run.err;
    EXPECT_THAT(run.err, AllOf(IsOneErrorLine(), HasSubstr(path), HasSubstr("no server there")));
  }
}

TEST(CommandLineTest, SaysWhenOutputCannotBeWritten) {
  ASSERT_EQ(std::system(("exec " + ToolPath() + " serve --list >/dev/full 2>/dev/null").c_str()),
            1 << 8);
}

class RegisterCommandTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(server_, IsOk()); }
  void TearDown() override { EXPECT_THAT(server_->Stop(), IsOk()); }

  ToolRun Run(const std::string& verb, std::vector<std::string> rest) {
    rest.insert(rest.begin(), {verb, server_->socket_path()});
    return RunTool(rest);
  }

  absl::StatusOr<ChildServer> server_ = StartServer();
};

TEST_F(RegisterCommandTest, ReadsARegister) {
  const ToolRun run = Run("read", {"bar0", "0"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "0x0000 0x59504344\n");
  EXPECT_THAT(run.err, IsEmpty());
}

TEST_F(RegisterCommandTest, ReadsSeveralRegistersOfAWidth) {
  const ToolRun run = Run("read", {"config", "0x0", "--width", "2", "--count", "2"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "0x0000 0x1234\n0x0002 0xdc01\n");
}

TEST_F(RegisterCommandTest, ReadsARegionByItsNumberAsJson) {
  const ToolRun run = Run("read", {"0", "4", "--json"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json json = nlohmann::json::parse(run.out);
  EXPECT_EQ(json["region"], "bar0");
  EXPECT_EQ(json["width"], 4);
  EXPECT_EQ(json["registers"], nlohmann::json::parse(R"([{"offset": 4, "value": 1}])"));
}

TEST_F(RegisterCommandTest, ReadsWhatWasWrittenByAnEarlierClient) {
  const ToolRun write = Run("write", {"bar0", "0x10", "0x123456789abcdef0", "--width", "8"});
  const ToolRun read = Run("read", {"bar0", "16", "--width", "8"});

  EXPECT_EQ(write.exit_code, 0) << write.err;
  EXPECT_THAT(write.out, IsEmpty());
  EXPECT_THAT(write.err, IsEmpty());
  EXPECT_EQ(read.out, "0x0010 0x123456789abcdef0\n");
}

TEST_F(RegisterCommandTest, ResetsTheDevice) {
  ASSERT_EQ(Run("write", {"bar0", "0x10", "0x1000", "--width", "8"}).exit_code, 0);

  const ToolRun reset = Run("reset", {});

  EXPECT_EQ(reset.exit_code, 0) << reset.err;
  EXPECT_EQ(Run("read", {"bar0", "0x10", "--width", "8"}).out, "0x0010 0x0000000000000000\n");
}

TEST_F(RegisterCommandTest, RejectsARegionBeyondTheDevice) {
  for (const char* const region : {"12", "bar5", "rom"}) {
    const ToolRun run = Run("read", {region, "0"});

    EXPECT_EQ(run.exit_code, 1) << region;
    EXPECT_THAT(run.err, AllOf(IsOneErrorLine(), HasSubstr("no region"), HasSubstr(region)));
  }
}

TEST_F(RegisterCommandTest, RejectsAnOffsetBeyondTheRegion) {
  const ToolRun read = Run("read", {"bar0", "0xffe", "--width", "4"});
  const ToolRun write = Run("write", {"bar0", "0x1000", "1"});

  EXPECT_EQ(read.exit_code, 1);
  EXPECT_THAT(read.err, AllOf(IsOneErrorLine(), HasSubstr("0xffe"), HasSubstr("0x1000")));
  EXPECT_EQ(write.exit_code, 1);
  EXPECT_THAT(write.err, AllOf(IsOneErrorLine(), HasSubstr("0x1000")));
}

TEST_F(RegisterCommandTest, SaysTheSameOfAReadAndAWriteBeyondTheRegion) {
  EXPECT_EQ(Run("read", {"bar0", "0x1000"}).err, Run("write", {"bar0", "0x1000", "1"}).err);
}

TEST_F(RegisterCommandTest, LeavesToTheDeviceWhichVectorsItHas) {
  for (const char* const vector : {"1", "2048", "4294967295"}) {
    const ToolRun run = Run("irq", {"msix", vector, "--trigger"});

    EXPECT_EQ(run.exit_code, 1) << run.err;
    EXPECT_THAT(run.err, AllOf(IsOneErrorLine(), HasSubstr("has no msix vector")));
  }
}

TEST_F(RegisterCommandTest, SaysWhatTheDeviceRefuses) {
  const ToolRun run = Run("read", {"bar0", "1", "--width", "1"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, AllOf(IsOneErrorLine(), HasSubstr("reading 1 bytes at bar0+0x1")));
}

TEST_F(RegisterCommandTest, ShowsTheDevice) {
  const ToolRun run = Run("info", {});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out,
              StartsWith("Device 1234:dc01 (rev 01): Generic system peripheral [088000]\n"));
  EXPECT_THAT(run.out, HasSubstr("\tControl: I/O- Mem- BusMaster- SpecCycle-"));
  EXPECT_THAT(run.out, HasSubstr("\tStatus: Cap+ 66MHz-"));
  EXPECT_THAT(run.out, HasSubstr("\tRegion 0: Memory at "));
  EXPECT_THAT(run.out, HasSubstr("-bit, non-prefetchable) [size=4K] read|write\n"));
  EXPECT_THAT(run.out, HasSubstr("MSI-X: Enable- Count=1 Masked-\n\t\tVector table: BAR="));
  EXPECT_THAT(run.out, HasSubstr("\tmsix: 1 vector, eventfd|maskable\n"));
  EXPECT_THAT(run.out, Not(HasSubstr("Problems")));
}

TEST_F(RegisterCommandTest, ShowsTheDeviceAsJson) {
  const ToolRun run = Run("info", {"--json"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json json = nlohmann::json::parse(run.out);
  EXPECT_EQ(json["pci"]["vendor_id"], 0x1234);
  EXPECT_EQ(json["pci"]["device_id"], 0xdc01);
  EXPECT_EQ(json["regions"][0]["name"], "bar0");
  EXPECT_EQ(json["regions"][0]["size"], 4096);
  EXPECT_EQ(json["interrupts"][0]["name"], "msix");
  EXPECT_EQ(json["problems"], nlohmann::json::array());
}

}  // namespace
}  // namespace vfio_user
