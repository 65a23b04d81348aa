// Whether the server may be given this process's memory as a whole.
#ifndef CLIENT_SESSION_PEER_TRUST_H_
#define CLIENT_SESSION_PEER_TRUST_H_

#include <sys/types.h>

#include <span>

#include "absl/status/status.h"
#include "proto_defs/transport/socket.h"

namespace vfio_user {

// OK for a server of the same user, of root, or of a user in `trusted_uids`: those could reach the
// memory anyway, or were named by the application. PermissionDenied otherwise, in words that say
// what to do. Pure.
absl::Status CheckMayLendMemory(const PeerCredentials& server, uid_t own_uid,
                                std::span<const uid_t> trusted_uids);

// The same for whoever is at the other end of `socket`, and this process's effective user.
absl::Status CheckMayLendMemory(const Socket& socket, std::span<const uid_t> trusted_uids);

}  // namespace vfio_user

#endif  // CLIENT_SESSION_PEER_TRUST_H_
