#include "tools/vfio_user/progress_bar.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "tools/vfio_user/child_process.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uint64_t kGiB = 1 << 30;

TEST(ProgressLineTest, ShowsShareRateAndTimeLeft) {
  EXPECT_EQ(ProgressLine(kGiB / 4, kGiB, absl::Seconds(1), 60),
            "[######....................]  25%   256.0 MiB/s  00:03 left");
}

TEST(ProgressLineTest, StartsWithoutARateOrATime) {
  EXPECT_EQ(ProgressLine(0, kGiB, absl::ZeroDuration(), 60),
            "[..........................]   0%             -  --:-- left");
}

TEST(ProgressLineTest, IsFullAtTheEndAndBeyondIt) {
  const std::string full = "[##########################] 100%     1.0 GiB/s  00:00 left";

  EXPECT_EQ(ProgressLine(kGiB, kGiB, absl::Seconds(1), 60), full);
  EXPECT_EQ(ProgressLine(2 * kGiB, kGiB, absl::Seconds(1), 60), full);
}

TEST(ProgressLineTest, CountsHoursWhenItIsSlow) {
  EXPECT_THAT(ProgressLine(1 << 20, kGiB, absl::Seconds(60), 80), HasSubstr("17h left"));
}

TEST(ProgressLineTest, ShowsBytesAndRateWithoutATotal) {
  EXPECT_EQ(ProgressLine(3 * kGiB / 2, absl::Seconds(1), 60), "1.5 GiB  1.5 GiB/s");
  EXPECT_EQ(ProgressLine(3 * kGiB / 2, absl::Seconds(1), 5), "1.5 ");
}

TEST(ProgressLineTest, FitsAnyTerminal) {
  for (size_t columns = 1; columns < 200; ++columns) {
    EXPECT_LT(ProgressLine(1 << 20, kGiB, absl::Seconds(1), columns).size(), columns);
  }
}

TEST(StepLineTest, ShowsShareAndStep) {
  EXPECT_THAT(StepLine(0.25, "file-io 64 KiB", 60),
              StartsWith("[######....................]  25%  file-io 64 KiB"));
}

TEST(StepLineTest, FitsAnyTerminal) {
  for (size_t columns = 1; columns < 200; ++columns) {
    EXPECT_LT(StepLine(2, "message 16 MiB", columns).size(), columns);
  }
}

class ProgressBarTest : public ::testing::Test {
 protected:
  // A terminal, and the end at which what is drawn on it comes out.
  void SetUp() override {
    screen_.Reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    ASSERT_TRUE(screen_.valid());
    ASSERT_EQ(::grantpt(screen_.get()), 0);
    ASSERT_EQ(::unlockpt(screen_.get()), 0);
    terminal_.Reset(::open(::ptsname(screen_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(terminal_.valid());
  }

  std::string Screen() {
    std::array<char, 4096> bytes = {};
    const ssize_t count = ::read(screen_.get(), bytes.data(), bytes.size());
    return std::string(bytes.data(), count > 0 ? static_cast<size_t>(count) : 0);
  }

  UniqueFd screen_;
  UniqueFd terminal_;
};

TEST_F(ProgressBarTest, DrawsOnATerminalAndClearsTheLineInTheEnd) {
  {
    ProgressBar bar(terminal_.get(), kGiB);
    bar.Update(kGiB / 2);
    EXPECT_THAT(Screen(), AllOf(StartsWith("\r\033[K["), HasSubstr(" 50% ")));
  }

  EXPECT_EQ(Screen(), "\r\033[K");
}

TEST_F(ProgressBarTest, DrawsNothingForAFileThatIsSoonCopied) {
  {
    ProgressBar bar(terminal_.get(), 1 << 20);
    bar.Update(1 << 19);
  }

  EXPECT_EQ(Screen(), "");
}

TEST_F(ProgressBarTest, DrawsNothingForAJobOfUnknownLengthThatIsSoonDone) {
  {
    ProgressBar bar(terminal_.get(), std::nullopt);
    bar.Update(kGiB);
  }

  EXPECT_EQ(Screen(), "");
}

TEST_F(ProgressBarTest, DrawsNothingOnWhatIsNoTerminal) {
  absl::StatusOr<Pipe> pipe = MakePipe();
  ASSERT_TRUE(pipe.ok());
  {
    ProgressBar bar(pipe->write_end.get(), kGiB);
    bar.Update(kGiB / 2);
  }

  pipe->write_end.Reset();

  char c = '\0';
  EXPECT_EQ(::read(pipe->read_end.get(), &c, 1), 0);
}

}  // namespace
}  // namespace vfio_user
