#include "tests/conformance/client/client_check.h"

#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

std::optional<std::string> Lacks(const ClientCheck& check, const ClientAdapter& adapter) {
  for (const ClientAbility ability : check.needs) {
    if (!adapter.Can(ability)) return fmt::format("the client lacks {}", AbilityName(ability));
  }
  if (check.stage.sockets == Sockets::kMainAndTwin && !adapter.Can(ClientAbility::kTwinSocket)) {
    return fmt::format("the client lacks {}", AbilityName(ClientAbility::kTwinSocket));
  }
  return std::nullopt;
}

absl::Status Play(const ClientCheck& check, Stage& stage) {
  if (check.opening == ClientCheck::Opening::kConnected) {
    VFIO_USER_RETURN_IF_ERROR(stage.Connect());
  }
  return check.run(stage);
}

// Play, and the client's end, in bounded time.
absl::Status PlayInTime(const ClientCheck& check, Stage& stage, const CheckPatience& patience) {
  std::promise<absl::Status> promise;
  std::future<absl::Status> future = promise.get_future();
  std::thread player([&check, &stage, &promise] {
    const absl::Status played = Play(check, stage);
    stage.Disconnect();
    promise.set_value(played);
  });
  absl::Status played;
  if (future.wait_for(patience.check) != std::future_status::ready) {
    played = Wrong("the client did not return before its server was closed");
    (void)stage.server().Stop();
    if (future.wait_for(patience.notice) != std::future_status::ready) {
      fmt::print(stderr, "{}: the client hangs, although its server is gone\n",
                 check.description.name);
      std::abort();
    }
  }
  player.join();
  return played.ok() ? future.get() : played;
}

absl::Status Run(const ClientCheck& check, const ClientAdapter& adapter,
                 const CheckPatience& patience) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Stage> stage, Stage::Open(adapter, check.stage));
  const absl::Status played = PlayInTime(check, *stage, patience);
  const absl::Status fault = stage->server().Stop();
  return played.ok() ? fault : played;
}

}  // namespace

CheckOutcome RunClientCheck(const ClientCheck& check, const ClientAdapter& adapter,
                            const CheckPatience& patience) {
  const std::optional<std::string> lacks = Lacks(check, adapter);
  if (lacks) return CheckOutcome::Skipped(*lacks);
  const bool counts = adapter.Can(ClientAbility::kCountDescriptors);
  const int before = counts ? adapter.OpenDescriptors() : 0;
  const absl::Status result = Run(check, adapter, patience);
  if (!result.ok()) return CheckOutcome::Failed(std::string(result.message()));
  const int after = counts ? adapter.OpenDescriptors() : 0;
  if (before == after) return CheckOutcome::Passed();
  return CheckOutcome::Failed(
      fmt::format("{} descriptors are open after the client's end, {} before", after, before));
}

}  // namespace vfio_user
