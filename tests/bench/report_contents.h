// The report on all benchmarks: what it says, and in which words.
#ifndef TESTS_BENCH_REPORT_CONTENTS_H_
#define TESTS_BENCH_REPORT_CONTENTS_H_

#include <vector>

#include "nlohmann/json.hpp"
#include "tests/bench/bench_results.h"
#include "tools/report_page/machine.h"
#include "tools/report_page/report_page.h"

namespace vfio_user {

// All targets with their verdicts, and all results. Times in seconds.
nlohmann::ordered_json ReportContentsJson(const Machine& machine,
                                          const std::vector<BinaryResults>& all);

// A table of the targets, a plot for each kind of curve of which there are points (see
// RunBenchmarks), and ratios that have no target.
ReportPage ReportContentsSummary(const Machine& machine, const std::vector<BinaryResults>& all);

// The same and every benchmark's result.
ReportPage ReportContentsPage(const Machine& machine, const std::vector<BinaryResults>& all);

}  // namespace vfio_user

#endif  // TESTS_BENCH_REPORT_CONTENTS_H_
