#include "tools/vfio_user/input_file.h"

#include <unistd.h>

#include <array>
#include <cstddef>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tools/vfio_user/exit_code.h"

namespace vfio_user {
namespace {

using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class InputFileTest : public ::testing::Test {
 protected:
  TempDir directory_;
  const std::string path_ = directory_.File("in");
};

TEST_F(InputFileTest, ReadsUntilTheEnd) {
  std::ofstream(path_) << std::string(10, 'x');
  absl::StatusOr<InputFile> file = InputFile::Open(path_);
  ASSERT_THAT(file, IsOk());
  std::array<std::byte, 6> buffer = {};

  EXPECT_EQ(file->size_hint(), 10u);
  EXPECT_THAT(file->Read(buffer), IsOkAndHolds(6u));
  EXPECT_THAT(file->Read(buffer), IsOkAndHolds(4u));
  EXPECT_THAT(file->Read(buffer), IsOkAndHolds(0u));
}

TEST_F(InputFileTest, ReadsAllOfAFile) {
  std::ofstream(path_) << std::string(100000, 'x');
  absl::StatusOr<InputFile> file = InputFile::Open(path_);
  ASSERT_THAT(file, IsOk());

  EXPECT_THAT(file->ReadAll(), IsOkAndHolds(std::vector(100000, std::byte{'x'})));
}

TEST_F(InputFileTest, ReadsAllOfAFileThatSaysThatItIsEmpty) {
  absl::StatusOr<InputFile> file = InputFile::Open("/proc/self/stat");
  ASSERT_THAT(file, IsOk());
  ASSERT_EQ(file->size_hint(), 0u);

  EXPECT_THAT(file->ReadAll(), IsOkAndHolds(SizeIs(Gt(50u))));
}

TEST_F(InputFileTest, HasNoSizeWhereItIsADevice) {
  const absl::StatusOr<InputFile> file = InputFile::Open("/dev/null");
  ASSERT_THAT(file, IsOk());

  EXPECT_EQ(file->size_hint(), std::nullopt);
}

TEST_F(InputFileTest, RejectsADirectory) {
  const absl::StatusOr<InputFile> file = InputFile::Open(directory_.path());

  EXPECT_THAT(file, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is a directory")));
  EXPECT_EQ(ExitCodeOf(file.status()), kExitUsage);
}

TEST_F(InputFileTest, RejectsAFileThatIsNotThere) {
  const absl::StatusOr<InputFile> file = InputFile::Open(path_);

  EXPECT_THAT(file,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cannot read " + path_)));
  EXPECT_EQ(ExitCodeOf(file.status()), kExitUsage);
}

}  // namespace
}  // namespace vfio_user
