// `vfio-user copy`: whole files through a device in another process.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_process.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/input_file.h"
#include "tools/vfio_user/round_trip.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// With its newline; what there is at the end.
std::string ReadLine(const UniqueFd& pipe) {
  std::string line;
  char c = '\0';
  while (c != '\n' && ::read(pipe.get(), &c, 1) == 1) line += c;
  return line;
}

class CopyTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(server_, IsOk()); }
  void TearDown() override { EXPECT_THAT(server_->Stop(), IsOk()); }

  std::vector<std::byte> WriteInput(size_t bytes) {
    std::vector<std::byte> data = PseudoRandomBytes(bytes);
    std::ofstream(in_, std::ios::binary)
        .write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(bytes));
    return data;
  }
  absl::StatusOr<std::vector<std::byte>> Output() {
    absl::StatusOr<InputFile> file = InputFile::Open(out_);
    if (!file.ok()) return file.status();
    return file->ReadAll();
  }
  ToolRun Copy(const std::string& in, const std::string& out, const std::string& path = "file-io") {
    return RunTool({"copy", server_->socket_path(), "--in", in, "--out", out, "--path", path});
  }
  size_t FilesInDirectory() const {
    const std::filesystem::directory_iterator files(directory_.path());
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

  TempDir directory_;
  const std::string in_ = directory_.File("in");
  const std::string out_ = directory_.File("out");
  absl::StatusOr<ChildServer> server_ = StartServer();
};

class CopySizeTest : public CopyTest,
                     public ::testing::WithParamInterface<std::tuple<const char*, size_t>> {};

TEST_P(CopySizeTest, GivesTheSameBytes) {
  const auto [path, size] = GetParam();
  const std::vector<std::byte> data = WriteInput(size);

  const ToolRun run = Copy(in_, out_, path);

  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, IsEmpty());
  EXPECT_THAT(run.err, AllOf(HasSubstr("buffering "), HasSubstr(std::string(" by ") + path)));
  const absl::StatusOr<std::vector<std::byte>> copied = Output();
  ASSERT_THAT(copied, IsOk());
  // Not EXPECT_EQ, which would print them.
  EXPECT_TRUE(*copied == data);
  EXPECT_EQ(FilesInDirectory(), 2u);
}

constexpr size_t kLargerThanAllBuffersAndOdd = (70 << 20) + 1;

INSTANTIATE_TEST_SUITE_P(PathsAndSizes, CopySizeTest,
                         ::testing::Combine(::testing::Values("file-io", "message", "mmap"),
                                            ::testing::Values(0, 1, 4097,
                                                              kLargerThanAllBuffersAndOdd)));

TEST_F(CopyTest, GivesTheSameBytesFromAServerThatGoesByDescriptorsOnly) {
  const std::vector<std::byte> data = WriteInput((3 << 20) + 1);
  absl::StatusOr<ChildServer> plain = StartServer("dma-copy", {"--no-process-vm"});
  ASSERT_THAT(plain, IsOk());

  const ToolRun run =
      RunTool({"copy", plain->socket_path(), "--in", in_, "--out", out_, "--path", "file-io"});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(Output(), IsOkAndHolds(data));
  EXPECT_THAT(plain->Stop(), IsOk());
}

TEST_F(CopyTest, TakesTheBestPathByItself) {
  const std::vector<std::byte> data = WriteInput(5000);

  const ToolRun run = RunTool({"copy", server_->socket_path(), "--in", in_, "--out", out_});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr(" by file-io"));
  EXPECT_THAT(Output(), IsOkAndHolds(data));
}

TEST_F(CopyTest, BuffersOnlyWhatASmallFileNeeds) {
  WriteInput(1 << 20);

  const ToolRun run = Copy(in_, "/dev/null");

  EXPECT_THAT(run.err, StartsWith("buffering 2.0 MiB in malloc"));
}

TEST_F(CopyTest, IsStoppedWhileItWaitsForItsInput) {
  ASSERT_EQ(::mkfifo(in_.c_str(), 0600), 0);
  absl::StatusOr<Pipe> talk = MakePipe();
  ASSERT_THAT(talk, IsOk());
  absl::StatusOr<ChildProcess> copy =
      ChildProcess::Spawn(ToolPath(), {"copy", server_->socket_path(), "--in", in_, "--out", out_},
                          {-1, -1, talk->write_end.get()});
  ASSERT_THAT(copy, IsOk());
  const UniqueFd writer(::open(in_.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(writer.valid());
  // What it says before it reads.
  ASSERT_THAT(ReadLine(talk->read_end), StartsWith("buffering"));

  copy->Signal(SIGTERM);

  const absl::StatusOr<ProcessEnd> end = copy->Wait(absl::Seconds(60));
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->exit_code, 128 + SIGTERM);
  EXPECT_EQ(end->signal, 0);
  talk->write_end.Reset();
  EXPECT_EQ(ReadLine(talk->read_end), "vfio-user: stopped by SIGTERM after 0 B\n");
  // The pipe to read from alone.
  EXPECT_EQ(FilesInDirectory(), 1u);
}

TEST_F(CopyTest, DrawsNoProgressBarWithoutATerminal) {
  WriteInput(kLargerThanAllBuffersAndOdd);

  const ToolRun run = Copy(in_, "/dev/null");

  EXPECT_THAT(run.err, Not(HasSubstr("\r")));
}

TEST_F(CopyTest, ReadsAPipeToItsEnd) {
  const std::vector<std::byte> data = WriteInput(100000);

  const std::string command = "cat " + in_ + " | " + ToolPath() + " copy " +
                              server_->socket_path() + " --in /dev/stdin --out " + out_ +
                              " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);

  EXPECT_THAT(Output(), IsOkAndHolds(data));
}

TEST_F(CopyTest, ReplacesAnOlderFile) {
  const std::vector<std::byte> data = WriteInput(1000);
  std::ofstream(out_) << std::string(5000, 'x');

  EXPECT_EQ(Copy(in_, out_).exit_code, 0);

  EXPECT_THAT(Output(), IsOkAndHolds(data));
}

TEST_F(CopyTest, RejectsWhatCannotBeRead) {
  const ToolRun directory = Copy(directory_.path(), out_);
  const ToolRun missing = Copy(in_, out_);

  EXPECT_EQ(directory.exit_code, 2);
  EXPECT_THAT(directory.err, HasSubstr("is a directory"));
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("cannot read " + in_));
  EXPECT_EQ(FilesInDirectory(), 0u);
}

TEST_F(CopyTest, RejectsWhatCannotBeWritten) {
  WriteInput(10);

  const ToolRun directory = Copy(in_, directory_.path());
  const ToolRun nowhere = Copy(in_, directory_.File("no/where"));

  EXPECT_EQ(directory.exit_code, 2);
  EXPECT_THAT(directory.err, HasSubstr("is a directory"));
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("no/where"));
}

TEST_F(CopyTest, RejectsTheSameFileForBoth) {
  const std::vector<std::byte> data = WriteInput(10);
  ASSERT_EQ(::link(in_.c_str(), out_.c_str()), 0);

  const ToolRun run = Copy(in_, out_);

  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("are the same file"));
  EXPECT_THAT(Output(), IsOkAndHolds(data));
}

TEST_F(CopyTest, SaysWhenTheDiskIsFull) {
  WriteInput(10);

  const ToolRun run = Copy(in_, "/dev/full");

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("cannot write /dev/full: No space left on device"));
}

TEST(CopyToAnotherDeviceTest, IsRefusedAndLeavesNoFile) {
  TempDir directory;
  absl::StatusOr<ChildServer> server = StartServer("null");
  ASSERT_THAT(server, IsOk());

  const ToolRun run =
      RunTool({"copy", server->socket_path(), "--in", "/dev/null", "--out", directory.File("out")});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, AllOf(HasSubstr("not dma-copy (1234:dc01)"), HasSubstr("serve dma-copy")));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace vfio_user
