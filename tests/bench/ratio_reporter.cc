#include "tests/bench/ratio_reporter.h"

#include <algorithm>
#include <utility>

#include "benchmark/benchmark.h"
#include "fmt/format.h"

namespace vfio_user {
namespace {

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void RatioReporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.run_type != Run::RT_Iteration || run.iterations == 0) continue;
    nanoseconds_[run.run_name.function_name].push_back(run.real_accumulated_time /
                                                       static_cast<double>(run.iterations) * 1e9);
  }
  benchmark::ConsoleReporter::ReportRuns(runs);
}

void RatioReporter::Finalize() {
  for (const RatioTarget& target : targets_) {
    const auto measured = nanoseconds_.find(target.benchmark);
    const auto raw = nanoseconds_.find(target.raw);
    if (measured == nanoseconds_.end() || raw == nanoseconds_.end()) continue;
    const double ratio = Median(measured->second) / Median(raw->second);
    fmt::print("{} / {}: {:.3f}, target {:.2f}: {}\n", target.benchmark, target.raw, ratio,
               target.at_most, ratio <= target.at_most ? "reached" : "MISSED");
  }
}

int RunBenchmarks(int argc, char** argv, std::vector<RatioTarget> targets) {
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  // Many short ones: the machine's speed changes from second to second, and for both alike.
  std::string repetitions = "--benchmark_repetitions=81";
  std::string length = "--benchmark_min_time=0.1";
  std::vector<char*> arguments = {argv[0], interleave.data(), repetitions.data(), length.data()};
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
