#include "tests/bench/ratio_target.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace vfio_user {

RatioTarget AtMost(double bound, std::string benchmark, std::string raw, std::string what) {
  return {.benchmark = std::move(benchmark),
          .raw = std::move(raw),
          .at_most = bound,
          .what = std::move(what)};
}

std::string BoundsText(const RatioTarget& target) {
  std::string out;
  if (std::isfinite(target.at_most)) out += fmt::format("at most {:g}", target.at_most);
  if (target.at_least > 0) {
    out += fmt::format("{}at least {:g}", out.empty() ? "" : ", ", target.at_least);
  }
  return out;
}

std::string TargetsToJson(const std::vector<RatioTarget>& targets) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const RatioTarget& target : targets) {
    nlohmann::ordered_json one = {{"benchmark", target.benchmark}, {"raw", target.raw}};
    if (std::isfinite(target.at_most)) one["at_most"] = target.at_most;
    if (target.at_least > 0) one["at_least"] = target.at_least;
    if (!target.counter.empty()) one["counter"] = target.counter;
    if (!target.note.empty()) one["note"] = target.note;
    if (!target.what.empty()) one["what"] = target.what;
    list.push_back(std::move(one));
  }
  return list.dump();
}

std::vector<RatioTarget> TargetsFromJson(std::string_view text) {
  std::vector<RatioTarget> targets;
  const nlohmann::json list = nlohmann::json::parse(text, nullptr, false);
  if (!list.is_array()) return targets;
  for (const nlohmann::json& one : list) {
    targets.push_back({.benchmark = one.value("benchmark", ""),
                       .raw = one.value("raw", ""),
                       .at_most = one.value("at_most", std::numeric_limits<double>::infinity()),
                       .at_least = one.value("at_least", 0.0),
                       .counter = one.value("counter", ""),
                       .note = one.value("note", ""),
                       .what = one.value("what", "")});
  }
  return targets;
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Quartiles QuartilesOf(const std::vector<double>& measured, const std::vector<double>& raw) {
  std::vector<double> figures = measured;
  if (!raw.empty()) {
    figures.resize(std::min(measured.size(), raw.size()));
    std::ranges::transform(figures, raw, figures.begin(), std::divides());
  }
  std::ranges::sort(figures);
  const size_t quarter = figures.size() / 4;
  return {figures[quarter], figures[figures.size() - 1 - quarter]};
}

}  // namespace vfio_user
