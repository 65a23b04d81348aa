// Data out of this process's memory, through a dma-copy device and back.
#ifndef TOOLS_VFIO_USER_ROUND_TRIP_H_
#define TOOLS_VFIO_USER_ROUND_TRIP_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"

namespace vfio_user {

struct RoundTrip {
  DmaPath path{};  // That the memory got.
  uint64_t bytes = 0;
  absl::Duration elapsed =
      absl::ZeroDuration();  // Of the device's work: not of mapping, filling and comparing.
  bool verified = false;     // Every byte came back as it left.
};

// Puts `data` into a buffer, lets the device copy that to another one, and compares. `check` is
// called between pieces; its error stops the work and is returned.
absl::StatusOr<RoundTrip> RunRoundTrip(const Client& client, std::span<const std::byte> data,
                                       DmaPath path, const std::function<absl::Status()>& check);

// The same bytes each time, without a pattern that a misplaced piece would fit.
std::vector<std::byte> PseudoRandomBytes(size_t count);

// The same, of which `check` is called now and then; its error is returned.
absl::StatusOr<std::vector<std::byte>> PseudoRandomBytes(
    size_t count, const std::function<absl::Status()>& check);

// Makes every byte of `out`, which has the size of `data`, differ from what is to come there, so
// that none can be right by accident.
void FillUnlike(std::span<const std::byte> data, std::span<std::byte> out);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_ROUND_TRIP_H_
