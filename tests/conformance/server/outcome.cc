#include "tests/conformance/server/outcome.h"

#include <string>

#include "absl/strings/cord.h"
#include "fmt/format.h"

namespace vfio_user {
namespace {

// The code alone would not tell: a call on the way may return Unimplemented too.
constexpr char kSkipPayload[] = "vfio-user/skip";

}  // namespace

absl::Status Skip(std::string_view why) {
  absl::Status status = absl::UnimplementedError(std::string(why));
  status.SetPayload(kSkipPayload, absl::Cord());
  return status;
}

absl::Status Misbehaved(std::string_view what) { return absl::DataLossError(std::string(what)); }

absl::Status InCase(const absl::Status& status, std::string_view which) {
  if (OutcomeOf(status).kind != CheckOutcome::Kind::kFailed) return status;
  return Misbehaved(fmt::format("{}: {}", which, std::string(status.message())));
}

CheckOutcome OutcomeOf(const absl::Status& status) {
  if (status.ok()) return CheckOutcome::Passed();
  std::string words(status.message());
  const bool skipped = status.GetPayload(kSkipPayload).has_value();
  return skipped ? CheckOutcome::Skipped(std::move(words)) : CheckOutcome::Failed(std::move(words));
}

}  // namespace vfio_user
