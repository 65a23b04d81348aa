#include "tools/vfio_user/raw_limits.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "tools/vfio_user/byte_text.h"
#include "tools/vfio_user/latency_summary.h"
#include "tools/vfio_user/measurement.h"
#include "tools/vfio_user/transfer_sweep.h"

namespace vfio_user {
namespace {

// At least; so that looking at the clock takes no part of the time.
constexpr uint64_t kBatchBytes = 64 << 10;

using CopyCall = std::function<bool(std::span<const std::byte> from, std::byte* to)>;

struct RawCopy {
  std::string name;
  CopyCall copy;
};

// The median of many batches: what else the machine does meanwhile is no limit.
absl::StatusOr<double> MeasureCopy(const RawCopy& raw, std::span<const std::byte> from,
                                   const MeasurementOptions& options) {
  std::vector<std::byte> to(from.size());
  const uint64_t copies = std::max<uint64_t>(1, kBatchBytes / from.size());
  const auto copy_batch = [&] {
    for (uint64_t i = 0; i < copies; ++i) {
      if (!raw.copy(from, to.data())) return ErrnoStatus(errno, raw.name);
    }
    return absl::OkStatus();
  };
  VFIO_USER_ASSIGN_OR_RETURN(const LatencySummary batches, MeasureLatency(copy_batch, options));
  return static_cast<double>(copies * from.size()) / absl::ToDoubleSeconds(batches.p50);
}

bool CopyByMemcpy(std::span<const std::byte> from, std::byte* to) {
  // Called through a pointer that the compiler does not see through: it would leave out copies
  // that nobody looks at.
  static void* (*volatile const copy)(void*, const void*, size_t) = std::memcpy;
  copy(to, from.data(), from.size());
  return true;
}

CopyCall CopyByPread(FdView memory) {
  return [memory](std::span<const std::byte> from, std::byte* to) {
    const auto offset = static_cast<off_t>(reinterpret_cast<uintptr_t>(from.data()));
    return ::pread(memory.get(), to, from.size(), offset) == static_cast<ssize_t>(from.size());
  };
}

absl::Status ExchangeByte(int socket) {
  char byte = 0;
  if (::write(socket, &byte, 1) != 1 || ::read(socket, &byte, 1) != 1) {
    return ErrnoStatus(errno, "a byte to and fro");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<RawCopyFigures>> MeasureRawCopies(const SweepOptions& options) {
  std::vector<RawCopyFigures> figures;
  if (options.sizes.empty()) return figures;
  const UniqueFd memory(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  if (!memory.valid()) return ErrnoStatus(errno, "/proc/self/mem");
  const std::array<RawCopy, 2> raws = {{{"memcpy", CopyByMemcpy}, {"pread", CopyByPread(memory)}}};
  const std::vector<std::byte> all(std::ranges::max(options.sizes), std::byte{1});
  const auto steps = static_cast<double>(raws.size() * options.sizes.size());
  for (const RawCopy& raw : raws) {
    for (const uint64_t bytes : options.sizes) {
      const std::string step = fmt::format("{} {}", raw.name, ByteText(bytes));
      const auto check = [&](double share) {
        return options.check((static_cast<double>(figures.size()) + share) / steps, step);
      };
      VFIO_USER_ASSIGN_OR_RETURN(
          const double rate, MeasureCopy(raw, std::span(all).first(bytes),
                                         {.duration = options.duration / steps, .check = check}));
      figures.push_back({raw.name, bytes, rate});
    }
  }
  return figures;
}

absl::StatusOr<LatencySummary> MeasurePingPong(const MeasurementOptions& options) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return ErrnoStatus(errno, "socketpair");
  }
  UniqueFd here(fds[0]);
  const UniqueFd there(fds[1]);
  std::thread echo([&there] {
    char byte = 0;
    while (::read(there.get(), &byte, 1) == 1 && ::write(there.get(), &byte, 1) == 1) {
    }
  });
  // The end of this socket is what ends the thread.
  const absl::Cleanup join = [&] {
    here.Reset();
    echo.join();
  };
  return MeasureLatency([&here] { return ExchangeByte(here.get()); }, options);
}

}  // namespace vfio_user
