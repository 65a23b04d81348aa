// A region that a client has opened, of a device that the test plays.
#ifndef CLIENT_REGION_FIXTURE_H_
#define CLIENT_REGION_FIXTURE_H_

#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/region.h"
#include "client/session/scripted_server.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/region_info.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

class RegionFixture : public testing::Test {
 protected:
  // What an access was.
  struct SeenAccess {
    Command command{};
    uint64_t offset = 0;
    uint32_t count = 0;
    bool no_reply = false;

    friend bool operator==(const SeenAccess&, const SeenAccess&) = default;
  };

  // Connects a client to a server that says `version_json` of itself.
  void Connect(const std::string& version_json);
  // Opens the region that `info` describes, for which the server sends `files`.
  absl::StatusOr<Region> Open(const RegionInfo& info, std::vector<UniqueFd> files = {},
                              const RegionOptions& options = {});
  // The same of a region that is memory_, into region_.
  void OpenRegisters(const std::string& version_json = kTwinGranted);

  // Plays a region of the plain memory of memory_, until `count` accesses were made; GET_INFO is
  // answered too, and counted.
  std::future<std::vector<SeenAccess>> ServeMemory(int count);

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::optional<Client> client_;
  std::optional<Region> region_;
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(1 << 20);

 private:
  void ServeOne(std::vector<SeenAccess>& seen);
};

}  // namespace vfio_user

#endif  // CLIENT_REGION_FIXTURE_H_
