#include "tools/vfio_user/exit_code.h"

#include <cctype>
#include <cstdio>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "fmt/format.h"

namespace vfio_user {
namespace {

constexpr char kUsagePayload[] = "vfio-user/usage";

// A message may quote what a peer or a file name says: neither may break the line or drive the
// terminal. Bytes above 0x7f pass, so that UTF-8 does.
std::string OneLine(std::string_view message) {
  std::string out(message);
  for (char& c : out) {
    if (std::iscntrl(static_cast<unsigned char>(c)) != 0) c = '?';
  }
  return out;
}

}  // namespace

absl::Status UsageError(std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(std::string(message));
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitDone;
  return status.GetPayload(kUsagePayload).has_value() ? kExitUsage : kExitRefused;
}

int ReportToUser(const absl::Status& status) {
  if (!status.ok()) {
    fmt::print(stderr, "vfio-user: {}\n", OneLine(std::string(status.message())));
  }
  return ExitCodeOf(status);
}

}  // namespace vfio_user
