// What `vfio-user bench` found, for people, programs and browsers.
#ifndef TOOLS_VFIO_USER_BENCH_REPORT_H_
#define TOOLS_VFIO_USER_BENCH_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "proto_defs/wire/device_info.h"
#include "tools/report_page/machine.h"
#include "tools/report_page/report_page.h"
#include "tools/vfio_user/latency_summary.h"
#include "tools/vfio_user/raw_limits.h"
#include "tools/vfio_user/transfer_sweep.h"

namespace vfio_user {

struct RegisterFigures {
  RegionIndex region{};
  uint64_t offset = 0;  // In bytes, and so is the width.
  uint64_t width = 0;
  LatencySummary latency;
};

struct BenchReport {
  Machine machine;
  LatencySummary ping_pong = {};  // The least that a register read can take of two who block.
  RegisterFigures read = {};
  // Both empty where only the register was read.
  std::vector<RawCopyFigures> raw_copies = {};
  std::vector<TransferFigures> transfers = {};
};

// Tables, each line ended by a newline.
std::string BenchText(const BenchReport& report);
// Times in seconds.
nlohmann::ordered_json BenchJson(const BenchReport& report);
ReportPage BenchPage(const BenchReport& report);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_BENCH_REPORT_H_
