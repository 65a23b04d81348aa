// Prints benchmarks as ratios to the raw operation that each is measured beside.
#ifndef TESTS_BENCH_RATIO_REPORTER_H_
#define TESTS_BENCH_RATIO_REPORTER_H_

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"

namespace vfio_user {

// Two benchmarks of one run, and what the first may cost as a multiple of the second. They are
// named as registered, with arguments and threads but without what Google Benchmark adds:
// "Lookup/65535" or "Copy/threads:2" for what it calls "Copy/real_time/threads:2".
struct RatioTarget {
  std::string benchmark;
  // Empty: not a ratio, but the first one's own figure.
  std::string raw;
  double at_most = std::numeric_limits<double>::infinity();
  double at_least = 0;
  // The counter of the benchmarks' own (of state.counters) that is compared, "items_per_second"
  // among them; empty for the time of an iteration, in nanoseconds.
  std::string counter = {};
  // For a target that is known to be missed: why.
  std::string note = {};
};

// The usual console output, and after it a line for each target: the ratio of the medians, and
// whether it was reached. Run with --benchmark_repetitions. The targets are also in the context of
// --benchmark_out's JSON, as a JSON text under "ratio_targets", where //tests/bench:report finds
// them.
class RatioReporter : public benchmark::ConsoleReporter {
 public:
  explicit RatioReporter(std::vector<RatioTarget> targets) : targets_(std::move(targets)) {}

  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

 private:
  std::vector<RatioTarget> targets_;
  // By benchmark and counter: a value for each repetition.
  std::map<std::string, std::map<std::string, std::vector<double>>> values_;
};

// main() of a benchmark binary with these targets: random interleaving, so that a drift of the
// machine's speed meets both sides of a ratio, and 81 short repetitions unless told otherwise.
//
// The report draws a benchmark as a point of a curve when it has a counter for where on the x axis
// it is: "bytes", "mappings" or "clients". The curve is named by what is before the last '/' of the
// benchmark's name; its y axis is the time of an iteration, or what SetBytesProcessed() and
// SetItemsProcessed() make of it for "bytes" and "clients".
int RunBenchmarks(int argc, char** argv, std::vector<RatioTarget> targets);

}  // namespace vfio_user

#endif  // TESTS_BENCH_RATIO_REPORTER_H_
