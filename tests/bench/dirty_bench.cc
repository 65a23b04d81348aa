// Reports of a log with a million dirty pages that do not touch, each of the whole range in
// messages of the usual size, beside the same for a range sixteen times as long, and beside a plain
// bitmap with a bit for each page of the range, of which the same bits are set and read out.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "benchmark/benchmark.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/dirty_log.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/ratio_target.h"

namespace vfio_user {
namespace {

constexpr uint64_t kDirtyPages = 1 << 20;
constexpr uint64_t kPagesForEach = 256;     // So 2^28 in all, and 32 MiB of bitmap.
constexpr uint64_t kBitmapBytes = 1 << 20;  // Of one message.
constexpr uint64_t kPagesInReport = kBitmapBytes * 8;

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void Report(benchmark::State& state, uint64_t page_size, uint64_t dirty_pages) {
  std::vector<uint8_t> bitmap(kBitmapBytes);
  for (auto _ : state) {
    DirtyLog log({.page_size = page_size, .ranges = {}});
    for (uint64_t i = 0; i < dirty_pages; ++i) {
      const Iova at{i * kPagesForEach * page_size};
      log.Mark(at, at);
    }
    if (log.range_count() != dirty_pages) std::abort();
    const auto begin = std::chrono::steady_clock::now();
    for (uint64_t page = 0; page < dirty_pages * kPagesForEach; page += kPagesInReport) {
      std::fill(bitmap.begin(), bitmap.end(), uint8_t{0});
      log.Take(Iova{page * page_size}, Iova{(page + kPagesInReport) * page_size - 1}, page_size,
               bitmap);
      benchmark::DoNotOptimize(bitmap.data());
    }
    state.SetIterationTime(SecondsSince(begin));
    if (log.range_count() != 0) std::abort();
  }
}

void ReadPlainBitmap(benchmark::State& state) {
  std::vector<uint8_t> bitmap(kBitmapBytes);
  std::vector<uint8_t> all(kDirtyPages * kPagesForEach / 8);
  for (auto _ : state) {
    for (uint64_t i = 0; i < kDirtyPages; ++i) {
      SetBits(all, i * kPagesForEach, i * kPagesForEach);
    }
    const auto begin = std::chrono::steady_clock::now();
    for (auto at = all.begin(); at != all.end(); at += kBitmapBytes) {
      std::copy(at, at + kBitmapBytes, bitmap.begin());
      std::fill(at, at + kBitmapBytes, uint8_t{0});
      benchmark::DoNotOptimize(bitmap.data());
    }
    state.SetIterationTime(SecondsSince(begin));
  }
}

int Run(int argc, char** argv) {
  constexpr uint64_t kSmall = 0x1000;
  // A sixteenth of everything.
  benchmark::RegisterBenchmark("DirtyReport/64GiB", Report, kSmall, kDirtyPages / 16)
      ->UseManualTime();
  benchmark::RegisterBenchmark("DirtyReport/1TiB", Report, kSmall, kDirtyPages)->UseManualTime();
  benchmark::RegisterBenchmark("DirtyReport/16TiB", Report, 16 * kSmall, kDirtyPages)
      ->UseManualTime();
  benchmark::RegisterBenchmark("PlainBitmap/1TiB", ReadPlainBitmap)->UseManualTime();
  return RunBenchmarks(argc, argv,
                       {AtMost(1.25, "DirtyReport/16TiB", "DirtyReport/1TiB",
                               "a report of a million dirty pages of 16 TiB, beside one of 1 TiB"),
                        // Sixteen times as much, and no longer in the processor's cache.
                        AtMost(32, "DirtyReport/1TiB", "DirtyReport/64GiB",
                               "a report of a million dirty pages, beside one of a sixteenth"),
                        AtMost(8, "DirtyReport/1TiB", "PlainBitmap/1TiB",
                               "a report of a million dirty pages, beside a plain bitmap")},
                       {"--benchmark_repetitions=11"});
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
