#include "client/session/peer_trust.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "fmt/format.h"

namespace vfio_user {
namespace {

// What the kernel shows for every user that the user namespace of this process has no name for
// (/proc/sys/kernel/overflowuid): two that show it need not be the same.
constexpr uid_t kOverflowUid = 65534;

}  // namespace

absl::Status CheckMayLendMemory(const PeerCredentials& server, uid_t own_uid,
                                std::span<const uid_t> trusted_uids) {
  if (std::ranges::find(trusted_uids, server.uid) != trusted_uids.end()) return absl::OkStatus();
  if (server.uid == 0) return absl::OkStatus();
  if (server.uid == own_uid && own_uid != kOverflowUid) return absl::OkStatus();
  const std::string_view why = server.uid == own_uid
                                   ? "which stands for every user that has no name here"
                                   : "which is neither this process's user nor root";
  return absl::PermissionDeniedError(fmt::format(
      "file I/O would lend all memory of this process to a server of user {}, {} (this process's "
      "is {}): name it in ClientOptions::trusted_uids, or use DmaPath::kMessage",
      server.uid, why, own_uid));
}

absl::Status CheckMayLendMemory(const Socket& socket, std::span<const uid_t> trusted_uids) {
  const absl::StatusOr<PeerCredentials> server = socket.GetPeerCredentials();
  if (!server.ok()) {
    return absl::PermissionDeniedError(
        fmt::format("file I/O would lend all memory of this process to a server of a user that "
                    "cannot be told: {}",
                    std::string(server.status().message())));
  }
  return CheckMayLendMemory(*server, ::geteuid(), trusted_uids);
}

}  // namespace vfio_user
