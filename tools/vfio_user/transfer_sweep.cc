#include "tools/vfio_user/transfer_sweep.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/byte_text.h"
#include "tools/vfio_user/dma_buffer.h"
#include "tools/vfio_user/dma_copy_driver.h"
#include "tools/vfio_user/latency_summary.h"
#include "tools/vfio_user/measurement.h"
#include "tools/vfio_user/round_trip.h"

namespace vfio_user {
namespace {

constexpr std::array kPaths = {DmaPath::kFileIo, DmaPath::kMmap, DmaPath::kMessage};
// Enough that the device never waits for the next one.
constexpr uint32_t kInFlight = 16;

// Two buffers that the device reaches by one path, and a driver whose ring it reaches by the same.
struct Bench {
  DmaBuffer from;
  DmaBuffer to;
  std::unique_ptr<DmaCopyDriver> driver;

  DmaCopyOperation Copy(uint64_t bytes) const {
    return DmaCopyOperation::Copy(from.iova(), to.iova(), bytes);
  }
};

absl::StatusOr<Bench> SetUp(const Client& client, DmaPath path, uint64_t bytes) {
  VFIO_USER_ASSIGN_OR_RETURN(DmaBuffer from, DmaBuffer::Create(client, bytes, path));
  VFIO_USER_ASSIGN_OR_RETURN(DmaBuffer to, DmaBuffer::Create(client, bytes, path));
  DmaCopyOptions options;
  options.path = path;
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<DmaCopyDriver> driver,
                             DmaCopyDriver::Open(client, options));
  std::ranges::copy(PseudoRandomBytes(bytes), from.bytes().begin());
  return Bench{std::move(from), std::move(to), std::move(driver)};
}

absl::StatusOr<double> MeasureThroughput(const Bench& bench, uint64_t bytes,
                                         const MeasurementOptions& options) {
  DmaCopyDriver& driver = *bench.driver;
  Stopwatch stopwatch(options);
  uint64_t copies = 0;
  bool goes_on = true;
  while (goes_on || driver.in_flight() > 0) {
    if (!goes_on || driver.in_flight() == kInFlight) {
      VFIO_USER_RETURN_IF_ERROR(driver.WaitForOldest().status());
      ++copies;
    }
    if (!goes_on) continue;
    VFIO_USER_RETURN_IF_ERROR(driver.Submit(bench.Copy(bytes)));
    VFIO_USER_ASSIGN_OR_RETURN(goes_on, stopwatch.GoesOn(Stopwatch::Clock::now()));
  }
  return BytesPerSecond(copies * bytes, stopwatch.elapsed());
}

absl::StatusOr<TransferFigures> MeasureSize(const Bench& bench, uint64_t bytes,
                                            const MeasurementOptions& options) {
  const std::span<std::byte> to = bench.to.bytes().first(bytes);
  const std::span<std::byte> from = bench.from.bytes().first(bytes);
  FillUnlike(from, to);
  MeasurementOptions half = options;
  half.duration = options.duration / 2;
  half.check = [&](double share) { return options.check(share / 2); };
  VFIO_USER_ASSIGN_OR_RETURN(
      const LatencySummary latency,
      MeasureLatency([&] { return bench.driver->Run(bench.Copy(bytes)).status(); }, half));
  half.check = [&](double share) { return options.check((1 + share) / 2); };
  VFIO_USER_ASSIGN_OR_RETURN(const double throughput, MeasureThroughput(bench, bytes, half));
  if (std::memcmp(to.data(), from.data(), bytes) != 0) {
    return absl::DataLossError(
        fmt::format("{} bytes came back changed by {}", bytes, DmaPathName(bench.to.path())));
  }
  return TransferFigures{bench.to.path(), bytes, throughput, latency};
}

}  // namespace

absl::StatusOr<std::vector<TransferFigures>> MeasureTransfers(const Client& client,
                                                              const SweepOptions& options) {
  std::vector<TransferFigures> figures;
  if (options.sizes.empty()) return figures;
  const auto steps = static_cast<double>(kPaths.size() * options.sizes.size());
  for (const DmaPath path : kPaths) {
    VFIO_USER_ASSIGN_OR_RETURN(const Bench bench,
                               SetUp(client, path, std::ranges::max(options.sizes)));
    for (const uint64_t bytes : options.sizes) {
      const std::string step = fmt::format("{} {}", DmaPathName(path), ByteText(bytes));
      const auto check = [&](double share) {
        return options.check((static_cast<double>(figures.size()) + share) / steps, step);
      };
      VFIO_USER_ASSIGN_OR_RETURN(
          const TransferFigures one,
          MeasureSize(bench, bytes, {.duration = options.duration / steps, .check = check}));
      figures.push_back(one);
    }
  }
  return figures;
}

}  // namespace vfio_user
