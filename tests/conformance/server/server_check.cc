#include "tests/conformance/server/server_check.h"

#include <chrono>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {

ServerCheckResult RunCheck(const ServerCheck& check, const SuiteOptions& options,
                           const ServerTraits& traits) {
  const auto start = std::chrono::steady_clock::now();
  ServerUnderTest server(options, traits);
  ServerCheckResult result;
  result.outcome = OutcomeOf(check.run(server));
  result.took = absl::FromChrono(std::chrono::steady_clock::now() - start);
  if (result.outcome.kind == CheckOutcome::Kind::kPassed) {
    result.remark = fmt::format("{}", fmt::join(server.remarks(), "; "));
  }
  return result;
}

}  // namespace vfio_user
