#include "tools/vfio_user/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tools/vfio_user/exit_code.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

class OutputFileTest : public ::testing::Test {
 protected:
  std::string Content(const std::string& path) const {
    std::ostringstream out;
    out << std::ifstream(path).rdbuf();
    return out.str();
  }
  size_t FilesInDirectory() const {
    const std::filesystem::directory_iterator files(directory_.path());
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

  TempDir directory_;
  const std::string path_ = directory_.File("out");
};

TEST_F(OutputFileTest, IsInItsPlaceAfterCommit) {
  absl::StatusOr<OutputFile> file = OutputFile::Create(path_);
  ASSERT_THAT(file, IsOk());
  ASSERT_THAT(file->Write(Bytes("one ")), IsOk());
  ASSERT_THAT(file->Write(Bytes("two")), IsOk());
  EXPECT_FALSE(std::filesystem::exists(path_));

  ASSERT_THAT(file->Commit(), IsOk());

  EXPECT_EQ(Content(path_), "one two");
  EXPECT_EQ(FilesInDirectory(), 1u);
}

TEST_F(OutputFileTest, LeavesNothingWithoutCommit) {
  {
    absl::StatusOr<OutputFile> file = OutputFile::Create(path_);
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(file->Write(Bytes("half")), IsOk());
  }

  EXPECT_EQ(FilesInDirectory(), 0u);
}

TEST_F(OutputFileTest, LeavesAnOldFileAsItWasWithoutCommit) {
  std::ofstream(path_) << "old";
  {
    absl::StatusOr<OutputFile> file = OutputFile::Create(path_);
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(file->Write(Bytes("new")), IsOk());
  }

  EXPECT_EQ(Content(path_), "old");
  EXPECT_EQ(FilesInDirectory(), 1u);
}

TEST_F(OutputFileTest, ReplacesAnOldFileAndKeepsItsPermissions) {
  std::ofstream(path_) << "old and longer";
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  absl::StatusOr<OutputFile> file = OutputFile::Create(path_);
  ASSERT_THAT(file, IsOk());
  ASSERT_THAT(file->Write(Bytes("new")), IsOk());

  ASSERT_THAT(file->Commit(), IsOk());

  EXPECT_EQ(Content(path_), "new");
  struct stat stat = {};
  ASSERT_EQ(::stat(path_.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 07777, 0640u);
}

TEST_F(OutputFileTest, ReplacesTheTargetOfASymbolicLinkAndNotTheLink) {
  const std::string target = directory_.File("target");
  std::ofstream(target) << "old";
  ASSERT_EQ(::symlink("target", path_.c_str()), 0);
  absl::StatusOr<OutputFile> file = OutputFile::Create(path_);
  ASSERT_THAT(file, IsOk());
  ASSERT_THAT(file->Write(Bytes("new")), IsOk());

  ASSERT_THAT(file->Commit(), IsOk());

  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_EQ(Content(target), "new");
}

TEST_F(OutputFileTest, WritesToADeviceAsItStands) {
  absl::StatusOr<OutputFile> file = OutputFile::Create("/dev/null");
  ASSERT_THAT(file, IsOk());

  EXPECT_THAT(file->Write(Bytes("away")), IsOk());
  EXPECT_THAT(file->Commit(), IsOk());

  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST_F(OutputFileTest, GoesOnBehindWhatStandardOutputHas) {
  const UniqueFd kept(::dup(STDOUT_FILENO));
  const UniqueFd redirected(::open(path_.c_str(), O_WRONLY | O_CREAT, 0600));
  ASSERT_EQ(::write(redirected.get(), "old ", 4), 4);
  ASSERT_EQ(::dup2(redirected.get(), STDOUT_FILENO), STDOUT_FILENO);

  absl::StatusOr<OutputFile> file = OutputFile::Create("/dev/stdout");
  const absl::Status written = file.ok() ? file->Write(Bytes("new")) : file.status();
  const absl::Status committed = file.ok() ? file->Commit() : file.status();
  ASSERT_EQ(::dup2(kept.get(), STDOUT_FILENO), STDOUT_FILENO);

  EXPECT_THAT(written, IsOk());
  EXPECT_THAT(committed, IsOk());
  EXPECT_EQ(::write(redirected.get(), " more", 5), 5);
  EXPECT_EQ(Content(path_), "old new more");
}

TEST_F(OutputFileTest, SaysWhenTheDiskIsFull) {
  absl::StatusOr<OutputFile> file = OutputFile::Create("/dev/full");
  ASSERT_THAT(file, IsOk());

  EXPECT_THAT(file->Write(Bytes("x")),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("cannot write /dev/full: No space left on device")));
}

TEST_F(OutputFileTest, RejectsADirectory) {
  const absl::StatusOr<OutputFile> file = OutputFile::Create(directory_.path());

  EXPECT_THAT(file, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is a directory")));
  EXPECT_EQ(ExitCodeOf(file.status()), kExitUsage);
}

TEST_F(OutputFileTest, RejectsAPlaceThatIsNotThere) {
  const absl::StatusOr<OutputFile> file = OutputFile::Create(directory_.File("no/such"));

  EXPECT_THAT(file, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no/such")));
  EXPECT_EQ(ExitCodeOf(file.status()), kExitUsage);
}

}  // namespace
}  // namespace vfio_user
