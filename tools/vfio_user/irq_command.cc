// vfio-user irq: the interrupts of a device, listed, waited for, triggered and masked.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/interrupt.h"
#include "client/interrupt_type.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/limits.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "Without a TYPE prints `TYPE VECTORS FLAGS`, a line for each. With one, binds the\n"
    "vector, masks or unmasks it, triggers it and waits for it, as far as that was\n"
    "asked for and in this order; --wait prints `TYPE VECTOR SIGNALS`, or fails when\n"
    "there was none in time. A mask goes with this client, as bindings do, and nobody\n"
    "else can use the device meanwhile.\n"
    "Examples:\n"
    "  vfio-user irq /tmp/copy.sock\n"
    "  vfio-user irq /tmp/copy.sock msix 0 --wait 10\n"
    "  vfio-user irq /tmp/copy.sock msix 0 --trigger --wait 1";

struct Arguments {
  std::string socket_path;
  std::optional<IrqIndex> type;
  std::optional<uint64_t> vector;
  std::optional<double> wait_seconds;
  bool trigger = false;
  bool mask = false;
  bool unmask = false;
  bool json = false;
};

// What a wait for an interrupt has to look at, too.
struct Watched {
  const Client& client;
  const StopSignals& stop;
};

// What CLI::Option::check() takes: empty for what --wait understands.
std::string CheckSeconds(const std::string& text) {
  // A day: longer waits are a mistake.
  constexpr double kMost = 86400;
  double seconds = -1;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, seconds);
  if (error == std::errc() && end == last && seconds >= 0 && seconds <= kMost) return "";
  return fmt::format("\"{}\" is no time to wait; give seconds, 0 to {}, as in 0.5", text, kMost);
}

absl::Status CheckUsage(const Arguments& arguments) {
  const bool acts =
      arguments.wait_seconds || arguments.trigger || arguments.mask || arguments.unmask;
  if (!arguments.type) {
    if (!acts) return absl::OkStatus();
    return UsageError("no vector to act on; give TYPE and VECTOR, as in msix 0");
  }
  if (!arguments.vector) return UsageError("VECTOR is missing; give its number after TYPE");
  // What the device has is for it to say.
  if (*arguments.vector > UINT32_MAX) {
    return UsageError(fmt::format("{} is no vector; give a number of 32 bits", *arguments.vector));
  }
  if (!acts) return UsageError("nothing to do; give --wait, --trigger, --mask or --unmask");
  return absl::OkStatus();
}

absl::Status List(const Client& client, const Arguments& arguments) {
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceInfo device, client.GetDeviceInfo());
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  const uint32_t count = std::min(device.num_irqs, kMaxIrqTypes);
  bool none = true;
  for (uint32_t i = 0; i < count; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(const IrqInfo info, client.GetIrqInfo(IrqIndex{i}));
    if (info.count == 0) continue;
    none = false;
    if (arguments.json) {
      list.push_back(
          {{"type", ToText(info.index)}, {"vectors", info.count}, {"flags", ToText(info.flags)}});
    } else {
      fmt::print("{} {} {}\n", info.index, info.count, info.flags);
    }
  }
  if (arguments.json) fmt::print("{}\n", list.dump(2));
  if (none) fmt::print(stderr, "the device has no interrupts\n");
  return absl::OkStatus();
}

// An Interrupt notices neither a lost connection nor a signal, so that these are looked for now and
// then.
absl::StatusOr<uint64_t> WaitWhileConnected(const Watched& watched, const Arguments& arguments,
                                            Interrupt& interrupt) {
  const absl::Duration timeout = absl::Seconds(*arguments.wait_seconds);
  constexpr absl::Duration kLookEvery = absl::Milliseconds(200);
  const absl::Time end = absl::Now() + timeout;
  while (true) {
    const absl::Duration left = end - absl::Now();
    absl::StatusOr<uint64_t> signals = interrupt.Wait(std::min(left, kLookEvery));
    if (!absl::IsDeadlineExceeded(signals.status())) return signals;
    VFIO_USER_RETURN_IF_ERROR(Annotate(watched.client.status(),
                                       fmt::format("{}: lost the server", arguments.socket_path)));
    VFIO_USER_RETURN_IF_ERROR(watched.stop.Check());
    if (left <= kLookEvery) {
      return absl::DeadlineExceededError(fmt::format("no interrupt {} {} in {}", interrupt.index(),
                                                     interrupt.vector(),
                                                     absl::FormatDuration(timeout)));
    }
  }
}

absl::Status Wait(const Watched& watched, const Arguments& arguments, Interrupt& interrupt) {
  VFIO_USER_ASSIGN_OR_RETURN(const uint64_t signals,
                             WaitWhileConnected(watched, arguments, interrupt));
  if (arguments.json) {
    const nlohmann::ordered_json all = {
        {"type", ToText(interrupt.index())}, {"vector", interrupt.vector()}, {"signals", signals}};
    fmt::print("{}\n", all.dump(2));
  } else {
    fmt::print("{} {} {}\n", interrupt.index(), interrupt.vector(), signals);
  }
  return absl::OkStatus();
}

absl::Status Act(const Watched& watched, const Arguments& arguments) {
  const auto vector = static_cast<uint32_t>(*arguments.vector);
  VFIO_USER_ASSIGN_OR_RETURN(const InterruptType type,
                             watched.client.OpenInterrupts(*arguments.type));
  std::optional<Interrupt> interrupt;
  if (arguments.wait_seconds) {
    VFIO_USER_ASSIGN_OR_RETURN(Interrupt bound, type.Bind(vector));
    interrupt.emplace(std::move(bound));
  }
  if (arguments.mask) VFIO_USER_RETURN_IF_ERROR(type.Mask(vector, 1));
  if (arguments.unmask) VFIO_USER_RETURN_IF_ERROR(type.Unmask(vector, 1));
  if (arguments.trigger) VFIO_USER_RETURN_IF_ERROR(type.Trigger(vector, 1));
  return interrupt ? Wait(watched, arguments, *interrupt) : absl::OkStatus();
}

absl::Status Irq(const Arguments& arguments) {
  VFIO_USER_RETURN_IF_ERROR(CheckUsage(arguments));
  VFIO_USER_ASSIGN_OR_RETURN(const StopSignals stop, StopSignals::Block());
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  return arguments.type ? Act({client, stop}, arguments) : List(client, arguments);
}

}  // namespace

Action AddIrq(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path);
  AddIrqType(app, arguments->type);
  AddOptionalNumber(app, {"VECTOR", "NUMBER", "of the interrupt, from 0"}, arguments->vector);
  app.add_option("--wait", arguments->wait_seconds, "bind the vector, and wait so long at most")
      ->type_name("SECONDS")
      ->check(CheckSeconds);
  app.add_flag("--trigger", arguments->trigger, "have the server signal it, as the device would");
  CLI::Option* const mask = app.add_flag("--mask", arguments->mask, "hold it back");
  app.add_flag("--unmask", arguments->unmask, "let it through again")->excludes(mask);
  app.add_flag("--json", arguments->json, "print JSON");
  app.footer(kExamples);
  return [arguments] { return Irq(*arguments); };
}

}  // namespace vfio_user
