#include "server/migration/migration_state.h"

#include <algorithm>
#include <array>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

constexpr MigState kStop = MigState::kStop;
constexpr MigState kRunning = MigState::kRunning;
constexpr MigState kStopCopy = MigState::kStopCopy;
constexpr MigState kResuming = MigState::kResuming;
constexpr MigState kPreCopy = MigState::kPreCopy;

// Towards a state, the first step depends only on where one is.
struct Step {
  MigState from{};
  MigState to{};
  MigState next{};
};
constexpr std::array kSteps = {
    Step{kRunning, kStop, kStop},       Step{kRunning, kPreCopy, kPreCopy},
    Step{kRunning, kStopCopy, kStop},   Step{kRunning, kResuming, kStop},
    Step{kStop, kRunning, kRunning},    Step{kStop, kStopCopy, kStopCopy},
    Step{kStop, kResuming, kResuming},  Step{kStop, kPreCopy, kRunning},
    Step{kPreCopy, kRunning, kRunning}, Step{kPreCopy, kStopCopy, kStopCopy},
    Step{kPreCopy, kStop, kRunning},    Step{kPreCopy, kResuming, kRunning},
    Step{kStopCopy, kStop, kStop},      Step{kStopCopy, kRunning, kStop},
    Step{kStopCopy, kResuming, kStop},  Step{kResuming, kStop, kStop},
    Step{kResuming, kRunning, kStop},   Step{kResuming, kStopCopy, kStop},
    Step{kResuming, kPreCopy, kStop},
};

}  // namespace

absl::StatusOr<std::vector<MigState>> MigrationPath(MigState from, MigState to) {
  std::vector<MigState> path;
  for (MigState at = from; at != to || at == MigState::kError; at = path.back()) {
    const auto step = std::ranges::find_if(
        kSteps, [&](const Step& one) { return one.from == at && one.to == to; });
    if (step == kSteps.end()) {
      return absl::InvalidArgumentError(
          fmt::format("MIG_DEVICE_STATE: no way from {} to {}", from, to));
    }
    path.push_back(step->next);
  }
  return path;
}

}  // namespace vfio_user
