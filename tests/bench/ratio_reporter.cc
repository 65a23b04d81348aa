#include "tests/bench/ratio_reporter.h"

#include <string>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "fmt/format.h"
#include "tests/bench/ratio_target.h"

namespace vfio_user {
namespace {

std::string NameOf(const benchmark::BenchmarkName& name) {
  std::string out = name.function_name;
  for (const std::string& part : {name.args, name.threads}) {
    if (!part.empty()) out += "/" + part;
  }
  return out;
}

std::string Line(const RatioTarget& target, double figure, const Quartiles& quartiles) {
  std::string out = target.benchmark;
  if (!target.raw.empty()) out += " / " + target.raw;
  if (!target.counter.empty()) out += ", " + target.counter;
  out += fmt::format(": {:.3f} ({:.3f} to {:.3f})", figure, quartiles.low, quartiles.high);
  const std::string bounds = BoundsText(target);
  if (bounds.empty()) return out;
  const bool reached = target.IsReached(figure);
  out += fmt::format(", target {}: {}", bounds, reached ? "reached" : "MISSED");
  if (!reached && !target.note.empty()) out += " (" + target.note + ")";
  return out;
}

}  // namespace

bool RatioReporter::ReportContext(const Context& context) {
  const bool go_on = ConsoleReporter::ReportContext(context);
  // Behind the console's and before the file's, which comes next.
  benchmark::AddCustomContext("ratio_targets", TargetsToJson(targets_));
  return go_on;
}

void RatioReporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.run_type != Run::RT_Iteration || run.iterations == 0) continue;
    auto& values = values_[NameOf(run.run_name)];
    values[""].push_back(run.real_accumulated_time / static_cast<double>(run.iterations) * 1e9);
    for (const auto& [name, counter] : run.counters) values[name].push_back(counter.value);
  }
  benchmark::ConsoleReporter::ReportRuns(runs);
}

void RatioReporter::Finalize() {
  // None where that benchmark did not run.
  const auto values_of = [this](const std::string& name, const std::string& counter) {
    const auto values = values_.find(name);
    if (values == values_.end() || !values->second.contains(counter)) return std::vector<double>();
    return values->second.at(counter);
  };
  for (const RatioTarget& target : targets_) {
    const std::vector<double> measured = values_of(target.benchmark, target.counter);
    const std::vector<double> raw = values_of(target.raw, target.counter);
    if (measured.empty() || (raw.empty() && !target.raw.empty())) continue;
    const double figure = Median(measured) / (raw.empty() ? 1 : Median(raw));
    fmt::print("{}\n", Line(target, figure, QuartilesOf(measured, raw)));
  }
}

int RunBenchmarks(int argc, char** argv, std::vector<RatioTarget> targets,
                  std::vector<std::string> defaults) {
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  // Many short ones: the machine's speed changes from second to second, and for both alike.
  std::string repetitions = "--benchmark_repetitions=41";
  std::string length = "--benchmark_min_time=0.03";
  std::vector<char*> arguments = {argv[0], interleave.data(), repetitions.data(), length.data()};
  for (std::string& flag : defaults) arguments.push_back(flag.data());
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  RatioReporter reporter(std::move(targets));
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  return 0;
}

}  // namespace vfio_user
