#include "tests/testing/temp_dir.h"

#include <sys/un.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

// Sets $TEST_TMPDIR, and sets it back.
class ScopedTestTmpdir {
 public:
  explicit ScopedTestTmpdir(const std::string& value) {
    const char* const old = std::getenv("TEST_TMPDIR");
    if (old != nullptr) old_ = old;
    ::setenv("TEST_TMPDIR", value.c_str(), 1);
  }
  ~ScopedTestTmpdir() {
    if (old_.empty()) {
      ::unsetenv("TEST_TMPDIR");
    } else {
      ::setenv("TEST_TMPDIR", old_.c_str(), 1);
    }
  }

 private:
  std::string old_;
};

TEST(TempDirTest, IsThereAndGoesWithItsContent) {
  std::string path;
  {
    const TempDir directory;
    path = directory.path();
    ASSERT_TRUE(std::filesystem::is_directory(path));
    std::ofstream(directory.File("f")) << "x";
    ASSERT_TRUE(std::filesystem::exists(path + "/f"));
  }

  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TempDirTest, IsAnotherEachTime) {
  const TempDir one;
  const TempDir two;

  EXPECT_NE(one.path(), two.path());
}

TEST(TempDirTest, UsesTestTmpdirWhenItIsShort) {
  const TempDir outer;
  const ScopedTestTmpdir environment(outer.path());

  const TempDir inner;

  EXPECT_TRUE(inner.path().starts_with(outer.path() + "/")) << inner.path();
}

TEST(TempDirTest, LeavesRoomForASocketWhenTestTmpdirIsLong) {
  const ScopedTestTmpdir environment("/tmp/" + std::string(90, 'x'));

  const TempDir directory;

  EXPECT_LT(directory.File(std::string(24, 'n')).size(), sizeof(sockaddr_un::sun_path));
}

}  // namespace
}  // namespace vfio_user
