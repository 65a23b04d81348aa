// How far a long job is, for whoever watches a terminal.
#ifndef TOOLS_VFIO_USER_PROGRESS_BAR_H_
#define TOOLS_VFIO_USER_PROGRESS_BAR_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace vfio_user {

// "[#####.....]  50%  1.0 GiB/s  00:03 left": at most `columns` wide. The job has done `done` of
// `total` bytes (more than 0) in `elapsed`.
std::string ProgressLine(uint64_t done, uint64_t total, absl::Duration elapsed, size_t columns);

// The same for a job of which nobody knows how long it is: "1.5 GiB  1.0 GiB/s".
std::string ProgressLine(uint64_t done, absl::Duration elapsed, size_t columns);

// "[#####.....]  50%  file-io 64 KiB": the same for a job of steps. `share` is 0 to 1.
std::string StepLine(double share, std::string_view step, size_t columns);

// Draws on a terminal's last line, some times a second at most, and clears it in the end.
// Thread-compatible.
class ProgressBar {
 public:
  // Draws on `fd` if that is a terminal and `total` bytes are enough to be worth it, else never.
  // Without a total, once the job has taken long enough.
  ProgressBar(int fd, std::optional<uint64_t> total);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();

  void Update(uint64_t done);

 private:
  using Clock = std::chrono::steady_clock;

  int fd_;  // -1: never draws.
  std::optional<uint64_t> total_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_drawn_;
  bool drawn_ = false;
};

// The same for a job of steps, which is long enough for a bar in any case.
class StepBar {
 public:
  // Draws on `fd` if that is a terminal, else never.
  explicit StepBar(int fd);
  StepBar(const StepBar&) = delete;
  StepBar& operator=(const StepBar&) = delete;
  ~StepBar();

  void Update(double share, std::string_view step);

 private:
  using Clock = std::chrono::steady_clock;

  int fd_;  // -1: never draws.
  Clock::time_point last_drawn_;
  bool drawn_ = false;
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_PROGRESS_BAR_H_
