#include "tools/vfio_user/raw_limits.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>
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
#include <system_error>
#include <thread>
#include <utility>
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

// Returns how many bytes it copied, or -1 and errno.
using CopyCall = std::function<ssize_t(std::span<const std::byte> from, std::byte* to)>;

struct RawCopy {
  std::string name;
  CopyCall copy;
};

absl::Status CopyError(const RawCopy& raw, ssize_t copied, size_t wanted) {
  if (copied < 0) return ErrnoStatus(errno, fmt::format("{} of {} bytes", raw.name, wanted));
  return absl::DataLossError(fmt::format("{} copied {} bytes, want {}", raw.name, copied, wanted));
}

// The median of many batches: what else the machine does meanwhile is no limit.
absl::StatusOr<double> MeasureCopy(const RawCopy& raw, std::span<const std::byte> from,
                                   const MeasurementOptions& options) {
  std::vector<std::byte> to(from.size());
  const uint64_t copies = std::max<uint64_t>(1, kBatchBytes / from.size());
  const auto copy_batch = [&] {
    for (uint64_t i = 0; i < copies; ++i) {
      const ssize_t copied = raw.copy(from, to.data());
      if (!std::cmp_equal(copied, from.size())) return CopyError(raw, copied, from.size());
    }
    return absl::OkStatus();
  };
  VFIO_USER_ASSIGN_OR_RETURN(const LatencySummary batches, MeasureLatency(copy_batch, options));
  return static_cast<double>(copies * from.size()) / absl::ToDoubleSeconds(batches.p50);
}

ssize_t CopyByMemcpy(std::span<const std::byte> from, std::byte* to) {
  // Called through a pointer that the compiler does not see through: it would leave out copies
  // that nobody looks at.
  static void* (*volatile const copy)(void*, const void*, size_t) = std::memcpy;
  copy(to, from.data(), from.size());
  return static_cast<ssize_t>(from.size());
}

CopyCall CopyByPread(FdView memory) {
  return [memory](std::span<const std::byte> from, std::byte* to) {
    const auto offset = static_cast<off_t>(reinterpret_cast<uintptr_t>(from.data()));
    return ::pread(memory.get(), to, from.size(), offset);
  };
}

absl::Status ExchangeByte(int socket) {
  char byte = 0;
  if (::write(socket, &byte, 1) < 0) return ErrnoStatus(errno, "ping-pong: sending a byte");
  const ssize_t got = ::read(socket, &byte, 1);
  if (got < 0) return ErrnoStatus(errno, "ping-pong: waiting for the byte that comes back");
  if (got == 0) return absl::UnavailableError("ping-pong: the other end closed, want a byte back");
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
  std::thread echo;
  try {
    echo = std::thread([&there] {
      char byte = 0;
      while (::read(there.get(), &byte, 1) == 1 && ::write(there.get(), &byte, 1) == 1) {
      }
    });
  } catch (const std::system_error& error) {
    return ErrnoStatus(error.code().value(),
                       "ping-pong: starting the thread that sends bytes back");
  }
  // The end of this socket is what ends the thread.
  const absl::Cleanup join = [&] {
    here.Reset();
    echo.join();
  };
  return MeasureLatency([&here] { return ExchangeByte(here.get()); }, options);
}

}  // namespace vfio_user
