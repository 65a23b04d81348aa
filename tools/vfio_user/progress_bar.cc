#include "tools/vfio_user/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "fmt/format.h"
#include "tools/vfio_user/byte_text.h"

namespace vfio_user {
namespace {

// Below this the job is over before a bar could be read.
constexpr uint64_t kWorthABarBytes = 64 << 20;
constexpr std::chrono::milliseconds kWorthABarTime(500);
constexpr std::chrono::milliseconds kInterval(100);
constexpr size_t kMaxBarWidth = 40;
constexpr std::string_view kClearLine = "\r\033[K";

std::string TimeLeft(uint64_t done, uint64_t total, absl::Duration elapsed) {
  if (done == 0) return "--:--";
  const double share = static_cast<double>(total - done) / static_cast<double>(done);
  const int64_t seconds = absl::ToInt64Seconds(elapsed * share);
  if (seconds >= 100 * 60) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{:02}:{:02}", seconds / 60, seconds % 60);
}

std::string BarText(double share, size_t width) {
  const auto filled = static_cast<size_t>(share * static_cast<double>(width));
  return fmt::format("[{}{}]", std::string(filled, '#'), std::string(width - filled, '.'));
}

size_t ColumnsOf(int fd) {
  winsize size = {};
  constexpr size_t kUsual = 80;
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

// A terminal that does not take the bar is no reason for the job to fail.
void Draw(int fd, const std::string& text) {
  [[maybe_unused]] const ssize_t ignored = ::write(fd, text.data(), text.size());
}

}  // namespace

std::string ProgressLine(uint64_t done, uint64_t total, absl::Duration elapsed, size_t columns) {
  done = std::min(done, total);
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const std::string numbers = fmt::format("{:>4}%  {:>12}  {} left", static_cast<int>(share * 100),
                                          RateText(done, elapsed), TimeLeft(done, total, elapsed));
  // The brackets, and a column that stays free: a full line would scroll on some terminals.
  const size_t beside = numbers.size() + 3;
  if (columns < beside + 4) return numbers.substr(0, columns > 0 ? columns - 1 : 0);
  return BarText(share, std::min(columns - beside, kMaxBarWidth)) + numbers;
}

std::string ProgressLine(uint64_t done, absl::Duration elapsed, size_t columns) {
  const std::string line = fmt::format("{}  {}", ByteText(done), RateText(done, elapsed));
  return line.substr(0, columns > 0 ? columns - 1 : 0);
}

std::string StepLine(double share, std::string_view step, size_t columns) {
  share = std::clamp(share, 0.0, 1.0);
  constexpr size_t kStepColumns = 24;
  const std::string words =
      fmt::format("{:>4}%  {:<{}}", static_cast<int>(share * 100), step, kStepColumns);
  const size_t beside = words.size() + 3;
  if (columns < beside + 4) return words.substr(0, columns > 0 ? columns - 1 : 0);
  return BarText(share, std::min(columns - beside, kMaxBarWidth)) + words;
}

ProgressBar::ProgressBar(int fd, std::optional<uint64_t> total)
    : fd_(total.value_or(kWorthABarBytes) >= kWorthABarBytes && ::isatty(fd) == 1 ? fd : -1),
      total_(total) {}

ProgressBar::~ProgressBar() {
  if (drawn_) Draw(fd_, std::string(kClearLine));
}

void ProgressBar::Update(uint64_t done) {
  const Clock::time_point now = Clock::now();
  if (fd_ < 0 || (drawn_ && now - last_drawn_ < kInterval)) return;
  if (!total_ && now - start_ < kWorthABarTime) return;
  last_drawn_ = now;
  drawn_ = true;
  const absl::Duration elapsed = absl::FromChrono(now - start_);
  const size_t columns = ColumnsOf(fd_);
  Draw(fd_, std::string(kClearLine) + (total_ ? ProgressLine(done, *total_, elapsed, columns)
                                              : ProgressLine(done, elapsed, columns)));
}

StepBar::StepBar(int fd) : fd_(::isatty(fd) == 1 ? fd : -1) {}

StepBar::~StepBar() {
  if (drawn_) Draw(fd_, std::string(kClearLine));
}

void StepBar::Update(double share, std::string_view step) {
  const Clock::time_point now = Clock::now();
  if (fd_ < 0 || (drawn_ && now - last_drawn_ < kInterval)) return;
  last_drawn_ = now;
  drawn_ = true;
  Draw(fd_, std::string(kClearLine) + StepLine(share, step, ColumnsOf(fd_)));
}

}  // namespace vfio_user
