#include "tools/vfio_user/round_trip.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/iova.h"
#include "tools/vfio_user/dma_buffer.h"
#include "tools/vfio_user/dma_copy_driver.h"

namespace vfio_user {
namespace {

// One operation's bytes: long against what starting one costs, short against a user's patience.
constexpr uint64_t kPieceBytes = 16 << 20;
// Enough that the device never waits for the next one.
constexpr uint32_t kPiecesInFlight = 4;

Iova Plus(Iova iova, uint64_t offset) { return Iova{ToU64(iova) + offset}; }

absl::Status CopyAll(DmaCopyDriver& driver, const DmaBuffer& from, const DmaBuffer& to,
                     const std::function<absl::Status()>& check) {
  const uint64_t bytes = from.bytes().size();
  for (uint64_t done = 0; done < bytes; done += kPieceBytes) {
    if (driver.in_flight() == kPiecesInFlight) {
      VFIO_USER_RETURN_IF_ERROR(driver.WaitForOldest().status());
    }
    VFIO_USER_RETURN_IF_ERROR(check());
    VFIO_USER_RETURN_IF_ERROR(driver.Submit(DmaCopyOperation::Copy(
        Plus(from.iova(), done), Plus(to.iova(), done), std::min(kPieceBytes, bytes - done))));
  }
  while (driver.in_flight() > 0) VFIO_USER_RETURN_IF_ERROR(driver.WaitForOldest().status());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RoundTrip> RunRoundTrip(const Client& client, std::span<const std::byte> data,
                                       DmaPath path, const std::function<absl::Status()>& check) {
  if (data.empty()) return RoundTrip{.path = path, .verified = true};
  VFIO_USER_ASSIGN_OR_RETURN(const DmaBuffer from, DmaBuffer::Create(client, data.size(), path));
  VFIO_USER_ASSIGN_OR_RETURN(const DmaBuffer to, DmaBuffer::Create(client, data.size(), path));
  DmaCopyOptions options;
  options.path = path;
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<DmaCopyDriver> driver,
                             DmaCopyDriver::Open(client, options));
  std::ranges::copy(data, from.bytes().begin());
  FillUnlike(data, to.bytes());

  const auto start = std::chrono::steady_clock::now();
  VFIO_USER_RETURN_IF_ERROR(CopyAll(*driver, from, to, check));
  const absl::Duration elapsed = absl::FromChrono(std::chrono::steady_clock::now() - start);

  const bool verified = std::memcmp(to.bytes().data(), data.data(), data.size()) == 0;
  return RoundTrip{from.path(), data.size(), elapsed, verified};
}

void FillUnlike(std::span<const std::byte> data, std::span<std::byte> out) {
  // A word at a time: a build that does not optimise takes long over each step.
  for (size_t i = 0; i < data.size(); i += sizeof(uint64_t)) {
    const size_t bytes = std::min(sizeof(uint64_t), data.size() - i);
    uint64_t word = 0;
    std::memcpy(&word, data.data() + i, bytes);
    word = ~word;
    std::memcpy(out.data() + i, &word, bytes);
  }
}

std::vector<std::byte> PseudoRandomBytes(size_t count) {
  return *PseudoRandomBytes(count, [] { return absl::OkStatus(); });
}

absl::StatusOr<std::vector<std::byte>> PseudoRandomBytes(
    size_t count, const std::function<absl::Status()>& check) {
  std::vector<std::byte> bytes;
  bytes.reserve(count);
  std::mt19937_64 engine(1);
  for (size_t i = 0; i < count; i += sizeof(uint64_t)) {
    if (i % kPieceBytes == 0) {
      VFIO_USER_RETURN_IF_ERROR(check());
      bytes.resize(std::min<size_t>(count, i + kPieceBytes));
    }
    const uint64_t word = engine();
    std::memcpy(bytes.data() + i, &word, std::min(sizeof(word), count - i));
  }
  return bytes;
}

}  // namespace vfio_user
