#include "tests/bench/bench_results.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "tests/bench/ratio_target.h"

namespace vfio_user {
namespace {

using Json = nlohmann::ordered_json;

// Numbers of a run that are no counters.
constexpr std::array<std::string_view, 8> kNoCounters = {
    "family_index", "per_family_instance_index",
    "repetitions",  "repetition_index",
    "threads",      "iterations",
    "real_time",    "cpu_time"};

// The name without what Google Benchmark adds to what was registered.
std::string RegisteredName(std::string_view name) {
  constexpr std::array<std::string_view, 7> kAdded = {
      "real_time", "manual_time", "process_time",    "iterations:",
      "repeats:",  "min_time:",   "min_warmup_time:"};
  std::string out;
  while (!name.empty()) {
    const size_t slash = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, slash);
    name.remove_prefix(std::min(slash + 1, name.size()));
    if (std::ranges::any_of(kAdded, [&](auto added) { return part.starts_with(added); })) continue;
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

double SecondsIn(std::string_view unit) {
  if (unit == "ns") return 1e-9;
  if (unit == "us") return 1e-6;
  return unit == "ms" ? 1e-3 : 1;
}

// The repetitions of one benchmark.
struct Runs {
  int place = 0;  // Among those that were registered; they are run in no order.
  std::vector<double> seconds;
  std::map<std::string, std::vector<double>> counters;
};

void AddRun(const Json& run, Runs& runs) {
  runs.place = run.value("family_index", 0);
  runs.seconds.push_back(run.value("real_time", 0.0) * SecondsIn(run.value("time_unit", "ns")));
  for (const auto& [key, value] : run.items()) {
    if (!value.is_number() || std::ranges::count(kNoCounters, key) > 0) continue;
    runs.counters[key].push_back(value.get<double>());
  }
}

BenchResult ResultOf(const std::string& name, const Runs& runs) {
  BenchResult result = {.name = name,
                        .repetitions = runs.seconds.size(),
                        .seconds = Median(runs.seconds),
                        .counters = {}};
  for (const auto& [counter, values] : runs.counters) result.counters[counter] = Median(values);
  return result;
}

// What a target is about; none where that benchmark did not run.
std::vector<double> ValuesOf(const std::map<std::string, Runs>& all, const std::string& name,
                             const std::string& counter) {
  const auto runs = all.find(name);
  if (runs == all.end()) return {};
  std::vector<double> values;
  if (counter.empty()) {
    for (const double seconds : runs->second.seconds) values.push_back(seconds * 1e9);
  } else if (const auto found = runs->second.counters.find(counter);
             found != runs->second.counters.end()) {
    values = found->second;
  }
  return values;
}

TargetResult Judge(const std::map<std::string, Runs>& all, const RatioTarget& target) {
  const std::vector<double> measured = ValuesOf(all, target.benchmark, target.counter);
  const std::vector<double> raw = ValuesOf(all, target.raw, target.counter);
  if (measured.empty() || (raw.empty() && !target.raw.empty())) return {target, std::nullopt};
  const double figure = Median(measured) / (raw.empty() ? 1 : Median(raw));
  return {target, figure, QuartilesOf(measured, raw)};
}

}  // namespace

absl::StatusOr<BinaryResults> ParseBenchResults(std::string_view binary, std::string_view json) {
  const Json all = Json::parse(json, nullptr, false);
  if (!all.is_object() || !all.contains("benchmarks") || !all.contains("context")) {
    return absl::DataLossError(fmt::format("{} wrote no results of benchmarks", binary));
  }
  BinaryResults out = {.binary = std::string(binary), .results = {}, .targets = {}};
  std::vector<std::string> order;
  std::map<std::string, Runs> runs;
  for (const Json& run : all["benchmarks"]) {
    if (run.value("run_type", "") != "iteration" || run.value("error_occurred", false)) continue;
    const std::string name = RegisteredName(run.value("run_name", ""));
    if (!runs.contains(name)) order.push_back(name);
    AddRun(run, runs[name]);
  }
  std::ranges::stable_sort(order, {}, [&](const std::string& name) { return runs[name].place; });
  for (const std::string& name : order) out.results.push_back(ResultOf(name, runs[name]));
  for (RatioTarget& target : TargetsFromJson(all["context"].value("ratio_targets", ""))) {
    out.targets.push_back(Judge(runs, target));
  }
  return out;
}

}  // namespace vfio_user
