// DEVICE_GET_IRQ_INFO, and what DEVICE_SET_IRQS does.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/irq_requests.h"
#include "tests/conformance/server/outcome.h"
#include "tests/testing/memfd.h"

namespace vfio_user {
namespace {

constexpr std::string_view kInfo = "VFIO_USER_DEVICE_GET_IRQ_INFO";
constexpr std::string_view kSet = "VFIO_USER_DEVICE_SET_IRQS";

WireRequest GetInfo(IrqIndex index, uint32_t argsz) {
  return {.command = Command::kDeviceGetIrqInfo,
          .body = Serialize(IrqInfoRequest{.argsz = argsz, .index = index})};
}

absl::Status DescribesEveryIndex(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  for (uint32_t i = 0; i < std::min(server.traits().device.num_irqs, kMaxIrqTypes); ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                               client.Do(GetInfo(IrqIndex{i}, 16)));
    VFIO_USER_ASSIGN_OR_RETURN(const IrqInfo info, IrqInfo::Parse(reply.body));
    if (reply.body.size() != IrqInfo::kBytes || info.argsz != IrqInfo::kBytes) {
      return Misbehaved(fmt::format("{}: {} bytes with an argsz of {}, want 16 and 16", IrqIndex{i},
                                    reply.body.size(), info.argsz));
    }
    if (info.index != IrqIndex{i}) {
      return Misbehaved(fmt::format("{} was asked for, and {} described", IrqIndex{i}, info.index));
    }
  }
  return absl::OkStatus();
}

absl::Status IndexBeyondTheLastIsRefused(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(
      server.Refuses(GetInfo(IrqIndex{server.traits().device.num_irqs}, 16), {EINVAL}));
  return server.Refuses(GetInfo(IrqIndex{UINT32_MAX}, 16), {EINVAL});
}

absl::Status ShortInfoBodyIsRefused(ServerUnderTest& server) {
  WireRequest request = GetInfo(IrqIndex::kIntx, 16);
  request.body.resize(15);
  return server.Refuses(request, {EINVAL});
}

absl::Status CountsAreThoseOfPci(ServerUnderTest& server) {
  if (!server.traits().is_pci()) return Skip("not a PCI device");
  for (const IrqInfo& irq : server.traits().irqs) {
    const uint32_t most = irq.index == IrqIndex::kMsix  ? 2048
                          : irq.index == IrqIndex::kMsi ? 32
                                                        : 1;
    if (irq.count > most) {
      return Misbehaved(fmt::format("{} has {} vectors, and PCI {}", irq.index, irq.count, most));
    }
  }
  return absl::OkStatus();
}

// A client, and an interrupt type of the device that can be signalled.
struct Bench {
  WireClient client;
  IrqIndex index;
  uint32_t count;
};

absl::StatusOr<Bench> Prepare(ServerUnderTest& server, uint32_t vectors = 1) {
  const IrqInfo* const irq = server.traits().signalled_irq();
  if (irq == nullptr) return Skip("the device has no interrupt that signals an eventfd");
  if (irq->count < vectors) {
    return Skip(
        fmt::format("{} has {} vectors, and this takes {}", irq->index, irq->count, vectors));
  }
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  return Bench{std::move(client), irq->index, irq->count};
}

absl::Status Silent(WireClient& client, IrqSignal& signal) {
  VFIO_USER_RETURN_IF_ERROR(client.InStep());
  if (signal.Take() == 0) return absl::OkStatus();
  return Misbehaved("an eventfd was signalled that should not have been");
}

absl::Status EveryTypeCanBeTriggered(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(Prepare(server).status());
  for (const IrqInfo& irq : server.traits().irqs) {
    if (irq.count == 0 || !irq.flags.Has(IrqInfoFlag::kEventfd)) continue;
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
    const IrqSignal signal = IrqSignal::Create();
    VFIO_USER_RETURN_IF_ERROR(InCase(Bind(client, irq.index, {signal.fd()}), ToText(irq.index)));
    VFIO_USER_RETURN_IF_ERROR(InCase(Trigger(client, irq.index), ToText(irq.index)));
    VFIO_USER_RETURN_IF_ERROR(InCase(signal.Wait(client), ToText(irq.index)));
  }
  return absl::OkStatus();
}

absl::Status BoolsChooseTheVectors(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  IrqSignal signal = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {signal.fd()}));
  IrqNumbers numbers = {
      .argsz = 21, .flags = kIrqBool | kIrqTrigger, .index = bench.index, .count = 1, .bools = {0}};
  VFIO_USER_RETURN_IF_ERROR(bench.client.DoPlain(SetIrqs(numbers)));
  VFIO_USER_RETURN_IF_ERROR(InCase(Silent(bench.client, signal), "with a 0"));
  numbers.bools = {1};
  VFIO_USER_RETURN_IF_ERROR(bench.client.DoPlain(SetIrqs(numbers)));
  return InCase(signal.Wait(bench.client), "with a 1");
}

absl::Status RunOfVectors(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server, 2));
  IrqSignal first = IrqSignal::Create();
  IrqSignal second = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {first.fd(), second.fd()}));
  VFIO_USER_RETURN_IF_ERROR(Trigger(bench.client, bench.index, 1));
  VFIO_USER_RETURN_IF_ERROR(second.Wait(bench.client));
  return Silent(bench.client, first);
}

absl::Status Unbinds(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  IrqSignal signal = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {signal.fd()}));
  VFIO_USER_RETURN_IF_ERROR(
      bench.client.DoPlain(SetIrqs({.flags = kIrqEventfd | kIrqTrigger, .index = bench.index})));
  VFIO_USER_RETURN_IF_ERROR(bench.client.Ask(SetIrqs({.index = bench.index})).status());
  return Silent(bench.client, signal);
}

absl::Status UnbindsOneInTheMiddle(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server, 2));
  IrqSignal first = IrqSignal::Create();
  IrqSignal second = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {first.fd(), second.fd()}));
  VFIO_USER_RETURN_IF_ERROR(bench.client.DoPlain(
      SetIrqs({.flags = kIrqEventfd | kIrqTrigger, .index = bench.index, .start = 1})));
  VFIO_USER_RETURN_IF_ERROR(bench.client.Ask(SetIrqs({.index = bench.index, .start = 1})).status());
  VFIO_USER_RETURN_IF_ERROR(Silent(bench.client, second));
  VFIO_USER_RETURN_IF_ERROR(Trigger(bench.client, bench.index));
  return first.Wait(bench.client);
}

absl::Status DisablesTheType(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  IrqSignal signal = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {signal.fd()}));
  VFIO_USER_RETURN_IF_ERROR(bench.client.DoPlain(SetIrqs({.index = bench.index, .count = 0})));
  VFIO_USER_RETURN_IF_ERROR(bench.client.Ask(SetIrqs({.index = bench.index})).status());
  VFIO_USER_RETURN_IF_ERROR(Silent(bench.client, signal));
  // And it can be enabled again.
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {signal.fd()}));
  VFIO_USER_RETURN_IF_ERROR(Trigger(bench.client, bench.index));
  return signal.Wait(bench.client);
}

absl::Status Rebinds(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  IrqSignal old = IrqSignal::Create();
  IrqSignal now = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {old.fd()}));
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {now.fd()}));
  VFIO_USER_RETURN_IF_ERROR(Trigger(bench.client, bench.index));
  VFIO_USER_RETURN_IF_ERROR(now.Wait(bench.client));
  return Silent(bench.client, old);
}

absl::Status TypesHaveVectorsOfTheirOwn(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  const std::vector<IrqInfo>& irqs = server.traits().irqs;
  const auto other = std::ranges::find_if(irqs, [&](const IrqInfo& irq) {
    return irq.index != bench.index && irq.count > 0 && irq.flags.Has(IrqInfoFlag::kEventfd);
  });
  if (other == irqs.end()) return Skip("the device has one type of interrupts");
  IrqSignal first = IrqSignal::Create();
  IrqSignal second = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {first.fd()}));
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, other->index, {second.fd()}));
  VFIO_USER_RETURN_IF_ERROR(Trigger(bench.client, bench.index));
  VFIO_USER_RETURN_IF_ERROR(first.Wait(bench.client));
  return Silent(bench.client, second);
}

absl::Status MaskedIsPending(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  const std::vector<IrqInfo>& irqs = server.traits().irqs;
  const auto irq = std::ranges::find_if(irqs, [](const IrqInfo& each) {
    return each.count > 0 && each.flags.Has(IrqInfoFlag::kMaskable);
  });
  if (irq == irqs.end()) return Skip("the device has no interrupt that can be masked");
  IrqSignal signal = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, irq->index, {signal.fd()}));
  VFIO_USER_RETURN_IF_ERROR(
      bench.client.DoPlain(SetIrqs({.flags = kIrqNone | kIrqMask, .index = irq->index})));
  VFIO_USER_RETURN_IF_ERROR(Trigger(bench.client, irq->index));
  VFIO_USER_RETURN_IF_ERROR(InCase(Silent(bench.client, signal), "while masked"));
  VFIO_USER_RETURN_IF_ERROR(
      bench.client.DoPlain(SetIrqs({.flags = kIrqNone | kIrqUnmask, .index = irq->index})));
  return InCase(signal.Wait(bench.client), "after it was unmasked");
}

// A client that lets its eventfd run full holds up nobody but itself.
absl::Status FullEventfdDoesNoHarm(ServerUnderTest& server, IrqSignal signal) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  signal.Fill();
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {signal.fd()}));
  MessageHeader header = {.msg_id = 1, .command = Command::kDeviceSetIrqs, .no_reply = true};
  VFIO_USER_RETURN_IF_ERROR(bench.client.SendMessage(header, SetIrqs({.index = bench.index}).body));
  const absl::Status in_step = bench.client.InStep();
  (void)signal.Take();
  return in_step;
}

absl::Status OtherDescriptorsDoNoHarm(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  const UniqueFd file = Memfd("no eventfd");
  VFIO_USER_RETURN_IF_ERROR(
      bench.client
          .Ask(SetIrqs({.flags = kIrqEventfd | kIrqTrigger, .index = bench.index}, {FdView(file)}))
          .status());
  VFIO_USER_RETURN_IF_ERROR(bench.client.Ask(SetIrqs({.index = bench.index})).status());
  return bench.client.InStep();
}

absl::Status BindingsGoWithTheirClient(ServerUnderTest& server) {
  IrqSignal signal = IrqSignal::Create();
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(Bind(bench.client, bench.index, {signal.fd()}));
  bench.client.Close();
  VFIO_USER_ASSIGN_OR_RETURN(WireClient next, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(next.Ask(SetIrqs({.index = bench.index})).status());
  return Silent(next, signal);
}

constexpr ServerCheck kChecks[] = {
    {"irq-info/every-index-is-described", kInfo, Requirement::kRequired, DescribesEveryIndex},
    {"irq-info/index-beyond-the-last-is-refused", kInfo, Requirement::kRequired,
     IndexBeyondTheLastIsRefused},
    {"irq-info/argsz-below-16-is-refused", kInfo, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return server.Refuses(GetInfo(IrqIndex::kIntx, 15), {EINVAL});
     }},
    {"irq-info/short-body-is-refused", kInfo, Requirement::kRequired, ShortInfoBodyIsRefused},
    {"irq-info/counts-are-those-of-pci", "PCI", Requirement::kRecommended, CountsAreThoseOfPci},
    {"set-irqs/every-type-can-be-triggered", kSet, Requirement::kRequired, EveryTypeCanBeTriggered},
    {"set-irqs/bools-choose-the-vectors", kSet, Requirement::kRequired, BoolsChooseTheVectors},
    {"set-irqs/run-of-vectors-is-bound", kSet, Requirement::kRequired, RunOfVectors},
    {"set-irqs/eventfd-without-descriptors-unbinds", kSet, Requirement::kRequired, Unbinds},
    {"set-irqs/vector-in-the-middle-is-unbound", kSet, Requirement::kRecommended,
     UnbindsOneInTheMiddle},
    {"set-irqs/none-trigger-count-0-disables-the-type", kSet, Requirement::kRequired,
     DisablesTheType},
    {"set-irqs/another-eventfd-replaces-the-first", kSet, Requirement::kRequired, Rebinds},
    {"set-irqs/types-have-vectors-of-their-own", kSet, Requirement::kRecommended,
     TypesHaveVectorsOfTheirOwn},
    {"set-irqs/masked-interrupt-is-pending-until-unmasked", kSet, Requirement::kRecommended,
     MaskedIsPending},
    {"set-irqs/full-eventfd-does-no-harm", "Security Considerations", Requirement::kRequired,
     [](ServerUnderTest& server) { return FullEventfdDoesNoHarm(server, IrqSignal::Create()); }},
    {"set-irqs/full-eventfd-that-blocks-does-no-harm", "Security Considerations",
     Requirement::kRecommended,
     [](ServerUnderTest& server) { return FullEventfdDoesNoHarm(server, IrqSignal::Blocking()); }},
    {"set-irqs/other-descriptors-do-no-harm", "Security Considerations", Requirement::kRecommended,
     OtherDescriptorsDoNoHarm},
    {"set-irqs/bindings-go-with-their-client", "Client Disconnection", Requirement::kRequired,
     BindingsGoWithTheirClient},
};

}  // namespace

std::span<const ServerCheck> IrqChecks() { return kChecks; }

}  // namespace vfio_user
