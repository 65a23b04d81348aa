#include "tools/vfio_user/byte_text.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "fmt/format.h"

namespace vfio_user {
namespace {

// Beyond this a double does not fit the integer that it becomes.
constexpr double kMaxRate = 1e18;

}  // namespace

std::string ByteText(uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // What would be rounded to 1024.0 of a unit is 1.0 of the next.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

double BytesPerSecond(uint64_t bytes, absl::Duration elapsed) {
  // Below this it is the clock's resolution that is being measured.
  if (elapsed < absl::Microseconds(1)) return 0;
  return static_cast<double>(bytes) / absl::ToDoubleSeconds(elapsed);
}

std::string RateText(uint64_t bytes, absl::Duration elapsed) {
  const double rate = BytesPerSecond(bytes, elapsed);
  if (rate <= 0) return "-";
  return ByteText(static_cast<uint64_t>(std::min(rate, kMaxRate))) + "/s";
}

}  // namespace vfio_user
