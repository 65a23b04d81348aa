// Prints benchmarks as ratios to the raw operation that each is measured beside.
#ifndef TESTS_BENCH_RATIO_REPORTER_H_
#define TESTS_BENCH_RATIO_REPORTER_H_

#include <map>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "tests/bench/ratio_target.h"

namespace vfio_user {

// The usual console output, and after it a line for each target: the ratio of the medians, in
// brackets its Quartiles, and whether it was reached. Run with --benchmark_repetitions. The targets
// are also in the context of --benchmark_out's JSON, as a JSON text under "ratio_targets", where
// //tests/bench:report finds them.
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
// machine's speed meets both sides of a ratio, and 41 short repetitions unless told otherwise, by
// `defaults` (flags of the benchmark library) or, which goes before, by the command line.
//
// The report draws a benchmark as a point of a curve when it has a counter for where on the x axis
// it is: "bytes", "mappings" or "clients". The curve is named by what is before the last '/' of the
// benchmark's name; its y axis is the time of an iteration, or what SetBytesProcessed() and
// SetItemsProcessed() make of it for "bytes" and "clients". A counter "limit" marks a curve of what
// the machine does without this library.
int RunBenchmarks(int argc, char** argv, std::vector<RatioTarget> targets,
                  std::vector<std::string> defaults = {});

}  // namespace vfio_user

#endif  // TESTS_BENCH_RATIO_REPORTER_H_
