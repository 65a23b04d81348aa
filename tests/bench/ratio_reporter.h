// Prints benchmarks as ratios to the raw operation that each is measured beside.
#ifndef TESTS_BENCH_RATIO_REPORTER_H_
#define TESTS_BENCH_RATIO_REPORTER_H_

#include <map>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"

namespace vfio_user {

// Two benchmarks of one run, and the most that the first may cost, as a multiple of the second.
struct RatioTarget {
  std::string benchmark;
  std::string raw;
  double at_most = 0;
};

// The usual console output, and after it a line for each target: the ratio of the medians, and
// whether it was reached. Run with --benchmark_repetitions.
class RatioReporter : public benchmark::ConsoleReporter {
 public:
  explicit RatioReporter(std::vector<RatioTarget> targets) : targets_(std::move(targets)) {}

  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

 private:
  std::vector<RatioTarget> targets_;
  std::map<std::string, std::vector<double>> nanoseconds_;
};

// main() of a benchmark binary with these targets: random interleaving, so that a drift of the
// machine's speed meets both sides of a ratio, and 81 short repetitions unless told otherwise.
int RunBenchmarks(int argc, char** argv, std::vector<RatioTarget> targets);

}  // namespace vfio_user

#endif  // TESTS_BENCH_RATIO_REPORTER_H_
