// The migration states, and MIG_DATA_READ and MIG_DATA_WRITE.
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/feature_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kState =
    "VFIO_USER_DEVICE_FEATURE, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE";
constexpr std::string_view kDataRead = "VFIO_USER_MIG_DATA_READ";
constexpr std::string_view kDataWrite = "VFIO_USER_MIG_DATA_WRITE";

// In pieces that every server reads whole.
constexpr uint32_t kPiece = 16 << 10;
constexpr size_t kMostStateBytes = 256 << 20;

// A client of a device that runs, whatever the check before has left.
absl::StatusOr<WireClient> ConnectToRunning(ServerUnderTest& server) {
  if (!server.traits().migration.has_value()) return Skip("the device cannot be migrated");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const MigState state, GetState(client));
  if (state == MigState::kRunning) return client;
  if (state != MigState::kError) VFIO_USER_RETURN_IF_ERROR(SetState(client, MigState::kRunning));
  if (state == MigState::kError) {
    VFIO_USER_RETURN_IF_ERROR(client.DoPlain({.command = Command::kDeviceReset}));
  }
  return client;
}

absl::Status Walks(WireClient& client, std::vector<MigState> states) {
  for (const MigState state : states) {
    VFIO_USER_RETURN_IF_ERROR(SetState(client, state));
    VFIO_USER_ASSIGN_OR_RETURN(const MigState now, GetState(client));
    if (now != state) {
      return Misbehaved(fmt::format("{} was set, and the state is {}", state, now));
    }
  }
  return absl::OkStatus();
}

absl::Status WalksFromRunning(ServerUnderTest& server, std::vector<MigState> states) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
  return Walks(client, std::move(states));
}

absl::Status RunsAtFirst(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
  VFIO_USER_ASSIGN_OR_RETURN(const MigState state, GetState(client));
  if (state == MigState::kRunning) return absl::OkStatus();
  return Misbehaved(fmt::format("the state is {}, want running", state));
}

absl::Status HasStopCopy(ServerUnderTest& server) {
  if (!server.traits().migration.has_value()) return Skip("the device cannot be migrated");
  if (server.traits().migration->Has(MigrationFlag::kStopCopy)) return absl::OkStatus();
  return Misbehaved("the device can be migrated, without STOP_COPY");
}

// What pre-copy is about, for devices that have it.
absl::Status WalksThroughPreCopy(ServerUnderTest& server, std::vector<MigState> states) {
  if (!server.traits().migration.has_value()) return Skip("the device cannot be migrated");
  if (!server.traits().migration->Has(MigrationFlag::kPreCopy)) {
    return Skip("the device has no PRE_COPY");
  }
  return WalksFromRunning(server, std::move(states));
}

// And stays where it is.
absl::Status RefusesState(ServerUnderTest& server, MigState from, MigState to) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
  if (from != MigState::kRunning) VFIO_USER_RETURN_IF_ERROR(SetState(client, from));
  const std::string which = fmt::format("{} to {}", from, to);
  VFIO_USER_RETURN_IF_ERROR(InCase(client.Refused(SetStateRequest(to), {EINVAL}), which));
  VFIO_USER_ASSIGN_OR_RETURN(const MigState now, GetState(client));
  if (now != from)
    return Misbehaved(fmt::format("{} was refused, and the state is {}", which, now));
  return Walks(client, {MigState::kRunning});
}

absl::Status RefusesStatesThatThereAreNot(ServerUnderTest& server) {
  for (const uint32_t state : {8u, 9u, 0x7fffffffu, UINT32_MAX}) {
    VFIO_USER_RETURN_IF_ERROR(RefusesState(server, MigState::kRunning, MigState{state}));
  }
  return absl::OkStatus();
}

absl::Status RefusesP2p(ServerUnderTest& server) {
  if (!server.traits().migration.has_value()) return Skip("the device cannot be migrated");
  if (server.traits().migration->Has(MigrationFlag::kP2p)) return Skip("the device has P2P");
  VFIO_USER_RETURN_IF_ERROR(RefusesState(server, MigState::kRunning, MigState::kRunningP2p));
  return RefusesState(server, MigState::kRunning, MigState::kPreCopyP2p);
}

absl::Status RefusesShortState(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
  const uint32_t flags = FlagsOf(Feature::kMigDeviceState, kFeatureSet);
  for (const size_t bytes : {size_t{0}, size_t{3}}) {
    VFIO_USER_RETURN_IF_ERROR(
        client.RefusedInStep(FeatureRequest(flags, std::vector<uint8_t>(bytes, 1)), {EINVAL}));
  }
  return absl::OkStatus();
}

WireRequest DataReadRequest(uint32_t argsz, uint32_t size) {
  return {.command = Command::kMigDataRead,
          .body = Serialize(MigDataReadRequest{.argsz = argsz, .size = size})};
}

WireRequest DataWriteRequest(std::span<const uint8_t> data) {
  return {.command = Command::kMigDataWrite, .body = Serialize(MigDataWriteRequest{.data = data})};
}

absl::StatusOr<std::vector<uint8_t>> ReadState(WireClient& client) {
  std::vector<uint8_t> state;
  while (true) {
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                               client.Do(DataReadRequest(8 + kPiece, kPiece)));
    VFIO_USER_ASSIGN_OR_RETURN(const MigDataReadReply piece, MigDataReadReply::Parse(reply.body));
    if (piece.data.size() > kPiece) return Misbehaved("more data than was asked for");
    if (reply.body.size() != 8 + piece.data.size()) {
      client.Remark(fmt::format("MIG_DATA_READ: a body of {} bytes with {} of data",
                                reply.body.size(), piece.data.size()));
    }
    if (piece.data.empty()) return state;
    state.insert(state.end(), piece.data.begin(), piece.data.end());
    if (state.size() > kMostStateBytes) return Misbehaved("the device's state does not end");
  }
}

absl::Status WriteState(WireClient& client, std::span<const uint8_t> state) {
  while (!state.empty()) {
    const size_t bytes = std::min<size_t>(state.size(), kPiece);
    VFIO_USER_RETURN_IF_ERROR(client.DoPlain(DataWriteRequest(state.first(bytes))));
    state = state.subspan(bytes);
  }
  return absl::OkStatus();
}

absl::Status SavesAndRestores(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
  VFIO_USER_RETURN_IF_ERROR(Walks(client, {MigState::kStopCopy}));
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> state, ReadState(client));
  if (state.empty()) client.Remark("the device's state has no bytes");
  VFIO_USER_RETURN_IF_ERROR(Walks(client, {MigState::kStop, MigState::kResuming}));
  VFIO_USER_RETURN_IF_ERROR(WriteState(client, state));
  return Walks(client, {MigState::kStop, MigState::kRunning});
}

absl::Status ConfigSpaceTravels(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
  const uint8_t before = 0x2d;
  const uint8_t between = 0xd2;
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(client, kInterruptLine, {&before, 1}));
  VFIO_USER_RETURN_IF_ERROR(Walks(client, {MigState::kStopCopy}));
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> state, ReadState(client));
  VFIO_USER_RETURN_IF_ERROR(Walks(client, {MigState::kRunning}));
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(client, kInterruptLine, {&between, 1}));
  VFIO_USER_RETURN_IF_ERROR(Walks(client, {MigState::kResuming}));
  VFIO_USER_RETURN_IF_ERROR(WriteState(client, state));
  VFIO_USER_RETURN_IF_ERROR(Walks(client, {MigState::kRunning}));
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> line,
                             ReadConfig(client, kInterruptLine, 1));
  if (line[0] == before) return absl::OkStatus();
  return Misbehaved(fmt::format(
      "the interrupt line is {:#x}, and was {:#x} when the state was saved", line[0], before));
}

absl::Status RefusesInState(ServerUnderTest& server, MigState state, const WireRequest& request) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
  if (state != MigState::kRunning) VFIO_USER_RETURN_IF_ERROR(SetState(client, state));
  VFIO_USER_RETURN_IF_ERROR(InCase(client.Refused(request, {EINVAL}), ToText(state)));
  return Walks(client, {MigState::kRunning});
}

absl::Status RefusesDataOutOfTurn(ServerUnderTest& server) {
  const std::vector<uint8_t> data(8);
  VFIO_USER_RETURN_IF_ERROR(
      RefusesInState(server, MigState::kRunning, DataReadRequest(8 + 64, 64)));
  VFIO_USER_RETURN_IF_ERROR(RefusesInState(server, MigState::kRunning, DataWriteRequest(data)));
  return RefusesInState(server, MigState::kStopCopy, DataWriteRequest(data));
}

absl::Status RefusesGarbage(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
  VFIO_USER_RETURN_IF_ERROR(Walks(client, {MigState::kResuming}));
  const std::vector<uint8_t> garbage(100, 0xa5);
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message written,
                             client.Ask(DataWriteRequest(garbage)));
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message stopped,
                             client.Ask(SetStateRequest(MigState::kStop)));
  if (!written.header.error_flag && !stopped.header.error_flag) {
    VFIO_USER_RETURN_IF_ERROR(Walks(client, {MigState::kRunning}));
    return Misbehaved("100 bytes of 0xa5 are taken for the device's state");
  }
  return client.DoPlain({.command = Command::kDeviceReset});
}

absl::Status ResetLeavesError(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(RefusesGarbage(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const MigState state, GetState(client));
  if (state == MigState::kRunning) return absl::OkStatus();
  return Misbehaved(fmt::format("the state is {} after a reset, want running", state));
}

absl::Status ResetIsDoneInEveryState(ServerUnderTest& server) {
  for (const MigState state : {MigState::kStop, MigState::kStopCopy, MigState::kResuming}) {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToRunning(server));
    VFIO_USER_RETURN_IF_ERROR(SetState(client, state));
    const absl::Status reset = client.DoPlain({.command = Command::kDeviceReset});
    if (!reset.ok()) VFIO_USER_RETURN_IF_ERROR(SetState(client, MigState::kRunning));
    VFIO_USER_RETURN_IF_ERROR(InCase(reset, ToText(state)));
  }
  return absl::OkStatus();
}

constexpr ServerCheck kChecks[] = {
    {"migration/has-stop-copy", "VFIO_USER_DEVICE_FEATURE, VFIO_DEVICE_FEATURE_MIGRATION",
     Requirement::kRequired, HasStopCopy},
    {"migration/device-runs-at-first", kState, Requirement::kRequired, RunsAtFirst},
    {"migration/stop-and-run", kState, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return WalksFromRunning(server, {MigState::kStop, MigState::kRunning});
     }},
    {"migration/stop-copy-and-back", kState, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return WalksFromRunning(
           server, {MigState::kStop, MigState::kStopCopy, MigState::kStop, MigState::kRunning});
     }},
    {"migration/shortest-path-is-taken", kState, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return WalksFromRunning(server, {MigState::kStopCopy, MigState::kRunning});
     }},
    {"migration/pre-copy-and-back", kState, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return WalksThroughPreCopy(server, {MigState::kPreCopy, MigState::kRunning});
     }},
    {"migration/pre-copy-and-on", kState, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return WalksThroughPreCopy(
           server, {MigState::kPreCopy, MigState::kStopCopy, MigState::kStop, MigState::kRunning});
     }},
    {"migration/state-is-saved-and-restored", kDataRead, Requirement::kRequired, SavesAndRestores},
    {"migration/config-space-travels", kDataRead, Requirement::kRecommended, ConfigSpaceTravels},
    {"migration/error-cannot-be-set", kState, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesState(server, MigState::kRunning, MigState::kError);
     }},
    {"migration/stop-copy-to-pre-copy-is-refused", kState, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesState(server, MigState::kStopCopy, MigState::kPreCopy);
     }},
    {"migration/unknown-state-is-refused", kState, Requirement::kRequired,
     RefusesStatesThatThereAreNot},
    {"migration/p2p-is-refused-without-p2p", kState, Requirement::kRequired, RefusesP2p},
    {"migration/short-state-is-refused", kState, Requirement::kRequired, RefusesShortState},
    {"migration/data-out-of-turn-is-refused", kDataWrite, Requirement::kRequired,
     RefusesDataOutOfTurn},
    {"mig-data-read/argsz-below-its-reply-is-refused", kDataRead, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesInState(server, MigState::kStopCopy, DataReadRequest(64, 64));
     }},
    {"mig-data-read/size-above-the-limit-is-refused", kDataRead, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesInState(server, MigState::kStopCopy,
                             DataReadRequest(UINT32_MAX, UINT32_MAX - 8));
     }},
    {"mig-data-read/short-body-is-refused", kDataRead, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesInState(server, MigState::kStopCopy,
                             {.command = Command::kMigDataRead, .body = {72, 0, 0, 0}});
     }},
    {"mig-data-write/size-beyond-its-body-is-refused", kDataWrite, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesInState(
           server, MigState::kStop,
           {.command = Command::kMigDataWrite, .body = {72, 0, 0, 0, 64, 0, 0, 0, 1, 2, 3}});
     }},
    {"migration/garbage-is-refused", kDataWrite, Requirement::kRecommended, RefusesGarbage},
    {"migration/reset-leaves-error", "VFIO_USER_DEVICE_RESET", Requirement::kRecommended,
     ResetLeavesError},
    {"migration/reset-is-done-in-every-state", "VFIO_USER_DEVICE_RESET", Requirement::kRecommended,
     ResetIsDoneInEveryState},
};

}  // namespace

std::span<const ServerCheck> MigrationChecks() { return kChecks; }

}  // namespace vfio_user
