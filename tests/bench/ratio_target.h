// What benchmarks are held against.
#ifndef TESTS_BENCH_RATIO_TARGET_H_
#define TESTS_BENCH_RATIO_TARGET_H_

#include <limits>
#include <string>
#include <string_view>
#include <vector>

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
  // In words, for who reads a table of targets: what is done, and beside what.
  std::string what = {};

  bool IsReached(double figure) const { return figure <= at_most && figure >= at_least; }
};

// The plain case: `benchmark` may take `bound` times as long as `raw`.
RatioTarget AtMost(double bound, std::string benchmark, std::string raw, std::string what);

// "at most 1.15".
std::string BoundsText(const RatioTarget& target);

// A JSON text, and back; empty for a text that is none.
std::string TargetsToJson(const std::vector<RatioTarget>& targets);
std::vector<RatioTarget> TargetsFromJson(std::string_view text);

// Of at least one.
double Median(std::vector<double> values);

// What half of the repetitions lie between.
struct Quartiles {
  double low = 0;
  double high = 0;
};

// Of a target's figure: each repetition as a multiple of the raw one of the same number, which both
// have at least one of, or alone where `raw` is empty.
Quartiles QuartilesOf(const std::vector<double>& measured, const std::vector<double>& raw);

}  // namespace vfio_user

#endif  // TESTS_BENCH_RATIO_TARGET_H_
