// A dma-copy device's throughput and latency, by path and size.
#ifndef TOOLS_VFIO_USER_TRANSFER_SWEEP_H_
#define TOOLS_VFIO_USER_TRANSFER_SWEEP_H_

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "tools/vfio_user/latency_summary.h"

namespace vfio_user {

// Copies of `bytes` within this process's memory: the device reads them and writes them elsewhere.
struct TransferFigures {
  DmaPath path{};
  uint64_t bytes = 0;
  double bytes_per_second = 0;  // Of the copies, with several under way at a time.
  LatencySummary latency;       // Of one at a time, from the doorbell to the result.
};

struct SweepOptions {
  std::vector<uint64_t> sizes = {};  // In bytes, more than 0 each.
  // For all of it, split evenly. Each size is copied a few times by each path in any case.
  absl::Duration duration = absl::Seconds(10);
  // Told now and then which share of the work is done, and what is at hand. Its error ends the
  // work and is returned.
  std::function<absl::Status(double share, std::string_view step)> check =
      [](double, std::string_view) { return absl::OkStatus(); };
};

// Every size by each of the three paths; by the time a figure is in, the bytes were compared.
// DataLoss where they differ. The client must be connected to a dma-copy device.
absl::StatusOr<std::vector<TransferFigures>> MeasureTransfers(const Client& client,
                                                              const SweepOptions& options);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_TRANSFER_SWEEP_H_
