// What a benchmark binary wrote with --benchmark_out, in the form that the report is made of.
#ifndef TESTS_BENCH_BENCH_RESULTS_H_
#define TESTS_BENCH_BENCH_RESULTS_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/bench/ratio_target.h"

namespace vfio_user {

// Medians of the repetitions.
struct BenchResult {
  std::string name;  // As a RatioTarget has it.
  size_t repetitions = 0;
  double seconds = 0;  // Of an iteration.
  std::map<std::string, double> counters;
};

struct TargetResult {
  RatioTarget target;
  std::optional<double> figure;  // nullopt: a benchmark of that name did not run.
  Quartiles quartiles = {};      // Of the figure, where there is one.

  bool reached() const { return figure && target.IsReached(*figure); }
};

struct BinaryResults {
  std::string binary;  // Its name.
  std::vector<BenchResult> results;
  std::vector<TargetResult> targets;
};

// DataLoss for what is not Google Benchmark's JSON.
absl::StatusOr<BinaryResults> ParseBenchResults(std::string_view binary, std::string_view json);

}  // namespace vfio_user

#endif  // TESTS_BENCH_BENCH_RESULTS_H_
