// INTx: a line, which is up until the device is told to lower it, and a mask that a signal sets.
#include <linux/pci_regs.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/irq_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kSet = "VFIO_USER_DEVICE_SET_IRQS";

// edu's: QEMU's docs/specs/edu.rst.
constexpr uint64_t kRaise = 0x60;
constexpr uint64_t kAcknowledge = 0x64;

enum class Line : uint8_t { kDown = 0, kUp = PCI_STATUS_INTERRUPT };

// A client of a device that raises and lowers its line when it is told to, and an eventfd that is
// bound to it.
struct Bench {
  absl::Status Write(uint64_t offset, uint8_t value) {
    const std::vector<uint8_t> data = {value, 0, 0, 0};
    return client.Do(WriteRequest(RegionIndex::kBar0, offset, data)).status();
  }
  absl::Status Raise(uint8_t bits = 1) { return Write(kRaise, bits); }
  absl::Status Acknowledge(uint8_t bits = 1) { return Write(kAcknowledge, bits); }

  absl::Status Apply(uint32_t flags) {
    return client.DoPlain(SetIrqs({.flags = flags, .index = IrqIndex::kIntx}));
  }
  absl::Status Mask() { return Apply(kIrqNone | kIrqMask); }
  absl::Status Unmask() { return Apply(kIrqNone | kIrqUnmask); }

  absl::Status Signalled(std::string_view when) {
    VFIO_USER_RETURN_IF_ERROR(InCase(signal.Wait(client), when));
    (void)signal.Take();
    return absl::OkStatus();
  }
  absl::Status Silent(std::string_view when) {
    VFIO_USER_RETURN_IF_ERROR(client.InStep());
    if (signal.Take() == 0) return absl::OkStatus();
    return Misbehaved(fmt::format("signalled {}", when));
  }

  // A device may move its line when the register write has been answered already.
  absl::Status WaitForLine(Line line) {
    while (!client.terms().deadline.passed()) {
      VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> status,
                                 ReadConfig(client, PCI_STATUS, 1));
      if ((status[0] & PCI_STATUS_INTERRUPT) == static_cast<uint8_t>(line)) return absl::OkStatus();
    }
    return Misbehaved(fmt::format("the interrupt bit of PCI_STATUS does not become {}",
                                  line == Line::kUp ? 1 : 0));
  }
  absl::Status RaiseAndWait(uint8_t bits = 1) {
    VFIO_USER_RETURN_IF_ERROR(Raise(bits));
    return WaitForLine(Line::kUp);
  }
  absl::Status AcknowledgeAndWait(uint8_t bits = 1) {
    VFIO_USER_RETURN_IF_ERROR(Acknowledge(bits));
    return WaitForLine(Line::kDown);
  }

  WireClient client;
  IrqSignal signal;
};

absl::StatusOr<Bench> Prepare(ServerUnderTest& server) {
  const ServerTraits& traits = server.traits();
  if (traits.engine != DmaEngineKind::kEdu || traits.irq(IrqIndex::kIntx) == nullptr) {
    return Skip("no device by which INTx can be raised (PCI 1234:11e8)");
  }
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain({.command = Command::kDeviceReset}));
  IrqSignal signal = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(client, IrqIndex::kIntx, {signal.fd()}));
  return Bench{std::move(client), std::move(signal)};
}

absl::StatusOr<Bench> PrepareAutomasked(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  if (server.traits().irq(IrqIndex::kIntx)->flags.Has(IrqInfoFlag::kAutomasked)) return bench;
  return Skip("INTx is not masked by its own signal");
}

absl::Status IsSignalled(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(bench.Raise());
  VFIO_USER_RETURN_IF_ERROR(bench.Signalled("when the line went up"));
  return bench.Acknowledge();
}

absl::Status StatusFollowsTheLine(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(InCase(bench.WaitForLine(Line::kDown), "before anything"));
  VFIO_USER_RETURN_IF_ERROR(InCase(bench.RaiseAndWait(3), "after it was raised"));
  VFIO_USER_RETURN_IF_ERROR(bench.Acknowledge(1));
  VFIO_USER_RETURN_IF_ERROR(
      InCase(bench.WaitForLine(Line::kUp), "with one of two reasons acknowledged"));
  return InCase(bench.AcknowledgeAndWait(2), "after both were acknowledged");
}

absl::Status SignalMasks(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, PrepareAutomasked(server));
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.Signalled("when the line went up"));
  VFIO_USER_RETURN_IF_ERROR(bench.AcknowledgeAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.Silent("a second time, and nobody has unmasked"));
  VFIO_USER_RETURN_IF_ERROR(bench.Unmask());
  VFIO_USER_RETURN_IF_ERROR(bench.Signalled("when it was unmasked"));
  return bench.Acknowledge();
}

absl::Status UnmaskSignalsWhileUp(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, PrepareAutomasked(server));
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  for (int i = 0; i < 3; ++i) {
    VFIO_USER_RETURN_IF_ERROR(bench.Signalled(fmt::format("the {}. time", i + 1)));
    VFIO_USER_RETURN_IF_ERROR(bench.Unmask());
  }
  return bench.Acknowledge();
}

absl::Status UnmaskIsSilentWhenDown(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, PrepareAutomasked(server));
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.Signalled("when the line went up"));
  VFIO_USER_RETURN_IF_ERROR(bench.AcknowledgeAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.Unmask());
  return bench.Silent("by an unmasking, and the line is down");
}

absl::Status MaskedIsHeldBack(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(bench.Mask());
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.Silent("while masked"));
  VFIO_USER_RETURN_IF_ERROR(bench.Unmask());
  VFIO_USER_RETURN_IF_ERROR(bench.Signalled("when it was unmasked"));
  return bench.Acknowledge();
}

// It is a level: nothing is pending of a line that is down again.
absl::Status LoweredWhileMaskedIsForgotten(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(bench.Mask());
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.AcknowledgeAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.Unmask());
  return bench.Silent("when it was unmasked, and the line was down again");
}

absl::Status CommandRegisterDisables(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  const std::vector<uint8_t> disabled = {0, PCI_COMMAND_INTX_DISABLE >> 8};
  const std::vector<uint8_t> enabled = {0, 0};
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(bench.client, kCommandRegister, disabled));
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.Silent("while the command register disables INTx"));
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(bench.client, kCommandRegister, enabled));
  VFIO_USER_RETURN_IF_ERROR(bench.Signalled("when it was enabled"));
  return bench.Acknowledge();
}

absl::Status ResetLowersTheLine(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  VFIO_USER_RETURN_IF_ERROR(bench.Signalled("when the line went up"));
  VFIO_USER_RETURN_IF_ERROR(bench.client.DoPlain({.command = Command::kDeviceReset}));
  VFIO_USER_RETURN_IF_ERROR(bench.WaitForLine(Line::kDown));
  VFIO_USER_RETURN_IF_ERROR(bench.Silent("by a reset"));
  // The signal has masked it. What is held back by that shows when it is gone.
  VFIO_USER_RETURN_IF_ERROR(bench.Unmask());
  VFIO_USER_RETURN_IF_ERROR(bench.Silent("by an unmasking after a reset"));
  VFIO_USER_RETURN_IF_ERROR(bench.Raise());
  VFIO_USER_RETURN_IF_ERROR(bench.Signalled("when the line went up after a reset"));
  return bench.Acknowledge();
}

// The device keeps its state, and so its line, when a client leaves it.
absl::Status NextClientIsTold(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(bench.RaiseAndWait());
  bench.client.Close();
  VFIO_USER_ASSIGN_OR_RETURN(WireClient next, server.Connect());
  Bench after = {std::move(next), IrqSignal::Create()};
  VFIO_USER_RETURN_IF_ERROR(Bind(after.client, IrqIndex::kIntx, {after.signal.fd()}));
  VFIO_USER_RETURN_IF_ERROR(after.Unmask());
  VFIO_USER_RETURN_IF_ERROR(after.Signalled("with a line that was up before it came"));
  return after.Acknowledge();
}

constexpr ServerCheck kChecks[] = {
    {"intx/raised-line-is-signalled", kSet, Requirement::kRequired, IsSignalled},
    {"intx/pci-status-follows-the-line", "QEMU's client", Requirement::kPeerQuirk,
     StatusFollowsTheLine},
    {"intx/signal-masks-where-it-is-automasked", kSet, Requirement::kRequired, SignalMasks},
    {"intx/unmasking-signals-again-while-the-line-is-up", kSet, Requirement::kRequired,
     UnmaskSignalsWhileUp},
    {"intx/unmasking-is-silent-when-the-line-is-down", kSet, Requirement::kRequired,
     UnmaskIsSilentWhenDown},
    {"intx/masked-line-is-signalled-when-unmasked", kSet, Requirement::kRequired, MaskedIsHeldBack},
    {"intx/line-lowered-while-masked-is-forgotten", kSet, Requirement::kRecommended,
     LoweredWhileMaskedIsForgotten},
    {"intx/command-register-disables-it", "PCI", Requirement::kRecommended,
     CommandRegisterDisables},
    {"intx/reset-lowers-the-line", "VFIO_USER_DEVICE_RESET", Requirement::kRequired,
     ResetLowersTheLine},
    {"intx/line-outlives-the-client", "Client Disconnection", Requirement::kRecommended,
     NextClientIsTold},
};

}  // namespace

std::span<const ServerCheck> IntxChecks() { return kChecks; }

}  // namespace vfio_user
