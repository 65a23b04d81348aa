// A reset of the function through config space, as the guests of a client do it.
#include <linux/pci_regs.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/feature_requests.h"
#include "tests/conformance/server/irq_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kPciExpress = "PCI Express, Function Level Reset";

// Where the PCI Express capability is; 0 without one that can reset the function.
uint8_t FindResettable(const std::vector<uint8_t>& config) {
  if (config.size() < 256) return 0;
  uint8_t at = config[PCI_CAPABILITY_LIST];
  // A list can be no longer than config space has room for.
  for (int i = 0; i < 48 && at >= 0x40 && at < 256 - PCI_EXP_DEVCTL - 2; ++i) {
    uint32_t capabilities = 0;
    std::memcpy(&capabilities, &config[at + PCI_EXP_DEVCAP], sizeof(capabilities));
    if (config[at] == PCI_CAP_ID_EXP && (capabilities & PCI_EXP_DEVCAP_FLR) != 0) return at;
    at = config[at + 1];
  }
  return 0;
}

// A client, and the register that resets.
struct Bench {
  // The write that asks for the reset; what else is in the register stays.
  absl::StatusOr<WireRequest> ResetRequest() {
    VFIO_USER_ASSIGN_OR_RETURN(std::vector<uint8_t> control, ReadConfig(client, device_control, 2));
    control[1] |= PCI_EXP_DEVCTL_BCR_FLR >> 8;
    return WriteRequest(RegionIndex::kConfig, device_control, control);
  }
  absl::Status Reset() {
    VFIO_USER_ASSIGN_OR_RETURN(const WireRequest request, ResetRequest());
    return client.Do(request).status();
  }

  WireClient client;
  uint64_t device_control = 0;
};

absl::StatusOr<Bench> Prepare(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  const uint8_t express = FindResettable(server.traits().config);
  if (express == 0) return Skip("the device has no function level reset");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  return Bench{std::move(client), uint64_t{express} + PCI_EXP_DEVCTL};
}

absl::StatusOr<Bench> PrepareMigratable(ServerUnderTest& server) {
  if (!server.traits().migration.has_value()) return Skip("the device cannot be migrated");
  return Prepare(server);
}

absl::Status IsDoneWhenAnswered(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  const std::vector<uint8_t> enabled = {kMemoryEnable | kBusMaster, 0};
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(bench.client, kCommandRegister, enabled));
  VFIO_USER_RETURN_IF_ERROR(bench.Reset());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> now,
                             ReadConfig(bench.client, kCommandRegister, 2));
  if ((now[0] & (kMemoryEnable | kBusMaster)) == 0) return absl::OkStatus();
  return Misbehaved(fmt::format("the command register is {:#x} after the reset", now[0]));
}

// Not only once the reset is over, which clears the register anyway: posted, the write is still
// being carried out when the next command comes.
absl::Status BitReadsAsZero(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  for (int i = 0; i < 20; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(const WireRequest request, bench.ResetRequest());
    const MessageHeader posted = {.msg_id = 7, .command = request.command, .no_reply = true};
    VFIO_USER_RETURN_IF_ERROR(bench.client.SendMessage(posted, request.body));
    VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> control,
                               ReadConfig(bench.client, bench.device_control, 2));
    if ((control[1] & PCI_EXP_DEVCTL_BCR_FLR >> 8) == 0) continue;
    return Misbehaved("the bit that resets reads as 1");
  }
  // Which comes after the resets that are under way.
  return bench.Reset();
}

// QEMU lets its guest reset the function, and knows of nothing: it maps and binds nothing anew.
absl::Status KeepsMappings(ServerUnderTest& server) {
  if (server.traits().ignores_dma) return Skip("the device takes no notice of mappings");
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(bench.client.DoPlain(MapRequest({})));
  VFIO_USER_RETURN_IF_ERROR(bench.Reset());
  return bench.client.Do(UnmapRequest({})).status();
}

absl::Status KeepsBindings(ServerUnderTest& server) {
  const IrqInfo* const irq = server.traits().signalled_irq();
  if (irq == nullptr) return Skip("the device has no interrupt that signals an eventfd");
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  const IrqSignal signal = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, irq->index, {signal.fd()}));
  VFIO_USER_RETURN_IF_ERROR(bench.Reset());
  VFIO_USER_RETURN_IF_ERROR(Trigger(bench.client, irq->index));
  return signal.Wait(bench.client);
}

absl::Status KeepsTheDmaLog(ServerUnderTest& server) {
  if (!server.traits().logs_dma) return Skip("the server does not log what the device writes");
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  const UniqueFd file = MemoryFile(MapNumbers().size);
  VFIO_USER_RETURN_IF_ERROR(bench.client.DoPlain(MapRequest({}, {FdView(file)})));
  VFIO_USER_RETURN_IF_ERROR(bench.client.Do(StartLoggingRequest({})).status());
  VFIO_USER_RETURN_IF_ERROR(bench.Reset());
  const std::vector<uint8_t> report =
      ReportData(MapNumbers().address, MapNumbers().size, LoggingNumbers().page_size);
  VFIO_USER_RETURN_IF_ERROR(GetFeature(bench.client, Feature::kDmaLoggingReport, report).status());
  return bench.client.Do(StopLoggingRequest()).status();
}

absl::Status RunsNow(WireClient& client) {
  VFIO_USER_ASSIGN_OR_RETURN(const MigState state, GetState(client));
  if (state == MigState::kRunning) return absl::OkStatus();
  return Misbehaved(fmt::format("the state is {} after the reset, want running", state));
}

absl::Status LeavesError(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, PrepareMigratable(server));
  VFIO_USER_RETURN_IF_ERROR(SetState(bench.client, MigState::kResuming));
  const std::vector<uint8_t> garbage(100, 0xa5);
  VFIO_USER_RETURN_IF_ERROR(bench.client
                                .Ask({.command = Command::kMigDataWrite,
                                      .body = Serialize(MigDataWriteRequest{.data = garbage})})
                                .status());
  VFIO_USER_RETURN_IF_ERROR(bench.client.Ask(SetStateRequest(MigState::kStop)).status());
  VFIO_USER_RETURN_IF_ERROR(bench.Reset());
  return RunsNow(bench.client);
}

absl::Status IsDoneInEveryState(ServerUnderTest& server) {
  for (const MigState state : {MigState::kStop, MigState::kStopCopy, MigState::kResuming}) {
    VFIO_USER_ASSIGN_OR_RETURN(Bench bench, PrepareMigratable(server));
    VFIO_USER_ASSIGN_OR_RETURN(const WireRequest request, bench.ResetRequest());
    VFIO_USER_RETURN_IF_ERROR(SetState(bench.client, state));
    const absl::Status reset = bench.client.Do(request).status();
    if (!reset.ok()) VFIO_USER_RETURN_IF_ERROR(SetState(bench.client, MigState::kRunning));
    VFIO_USER_RETURN_IF_ERROR(InCase(reset, ToText(state)));
    VFIO_USER_RETURN_IF_ERROR(InCase(RunsNow(bench.client), ToText(state)));
  }
  return absl::OkStatus();
}

constexpr ServerCheck kChecks[] = {
    {"function-reset/is-done-when-it-is-answered", kPciExpress, Requirement::kRecommended,
     IsDoneWhenAnswered},
    {"function-reset/its-bit-reads-as-0", kPciExpress, Requirement::kRequired, BitReadsAsZero},
    {"function-reset/keeps-mappings", "QEMU's client", Requirement::kPeerQuirk, KeepsMappings},
    {"function-reset/keeps-bindings", "QEMU's client", Requirement::kPeerQuirk, KeepsBindings},
    {"function-reset/keeps-the-dma-log", "QEMU's client", Requirement::kPeerQuirk, KeepsTheDmaLog},
    {"function-reset/leaves-error", "VFIO_USER_DEVICE_RESET", Requirement::kRecommended,
     LeavesError},
    {"function-reset/is-done-in-every-state", "VFIO_USER_DEVICE_RESET", Requirement::kRecommended,
     IsDoneInEveryState},
};

}  // namespace

std::span<const ServerCheck> FunctionResetChecks() { return kChecks; }

}  // namespace vfio_user
