#include "tools/report_page/quantity_text.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "fmt/format.h"
#include "tools/report_page/plot_unit.h"

namespace vfio_user {
namespace {

// 3 digits of what is below 1000, all of what is above.
std::string Digits(double value) {
  if (value == std::floor(value) && value < 1000) return fmt::format("{:.0f}", value);
  if (value >= 100) return fmt::format("{:.0f}", value);
  return value >= 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

std::string Scaled(double value, double step, std::span<const std::string_view> units) {
  size_t unit = 0;
  for (; unit + 1 < units.size() && std::round(value) >= step; ++unit) value /= step;
  return fmt::format("{} {}", Digits(value), units[unit]);
}

std::string Grouped(double value) {
  if (value < 1000) return Digits(value);
  std::string out = std::to_string(static_cast<uint64_t>(std::llround(value)));
  for (size_t at = out.size(); at > 3; at -= 3) out.insert(at - 3, 1, ',');
  return out;
}

constexpr std::array<std::string_view, 5> kBytes = {"B", "KiB", "MiB", "GiB", "TiB"};
constexpr std::array<std::string_view, 4> kTimes = {"ns", "µs", "ms", "s"};

}  // namespace

std::string QuantityText(double value, PlotUnit unit) {
  switch (unit) {
    case PlotUnit::kBytes:
      return Scaled(value, 1024, kBytes);
    case PlotUnit::kBytesPerSecond:
      return Scaled(value, 1024, kBytes) + "/s";
    case PlotUnit::kSeconds:
      return Scaled(value * 1e9, 1000, kTimes);
    case PlotUnit::kCount:
      return Grouped(value);
    case PlotUnit::kPerSecond:
      return Grouped(value) + "/s";
  }
  return Grouped(value);
}

}  // namespace vfio_user
