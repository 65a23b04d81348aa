// vfio-user serve: the reference server's devices, each at a socket.
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "server/devices/registry.h"
#include "server/server.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "One client at a time uses the device at a socket. Each socket has a device of\n"
    "its own, whose registers outlive a client. SIGTERM and SIGINT end the server and\n"
    "remove the sockets.\n"
    "Examples:\n"
    "  vfio-user serve --list\n"
    "  vfio-user serve dma-copy --socket /tmp/copy.sock\n"
    "  vfio-user serve null --socket /tmp/a.sock --socket /tmp/b.sock --verbose\n"
    "  vfio-user serve edu --socket /tmp/edu.sock --dma-mask 0xffffffffffffffff";

// A minute. Whoever waits longer for the next request has no need to spare a wake-up.
constexpr uint64_t kMostBusyPollMicroseconds = 60'000'000;

struct Arguments {
  std::string device;
  std::vector<std::string> socket_paths;
  uint64_t dma_mask = 0;
  const CLI::Option* dma_mask_option = nullptr;  // Whether it was given.
  bool list = false;
  bool verbose = false;
  bool until_eof = false;
  bool no_process_vm = false;
  uint64_t busy_poll_microseconds = 0;
};

// Takes what standard input has, which is nobody's. False at its end.
bool InputGoesOn() {
  std::array<char, 4096> ignored;
  const ssize_t count = ::read(STDIN_FILENO, ignored.data(), ignored.size());
  return count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN));
}

// Until a signal has come or, if that is asked for, standard input is at its end.
absl::Status WaitForTheEnd(const StopSignals& signals, const Arguments& arguments) {
  std::array<pollfd, 2> fds = {{{signals.fd().get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
  const nfds_t count = arguments.until_eof ? 2 : 1;
  while (true) {
    if (::poll(fds.data(), count, -1) < 0) {
      if (errno != EINTR) return ErrnoStatus(errno, "poll");
      continue;
    }
    if (fds[0].revents != 0 || !InputGoesOn()) return absl::OkStatus();
  }
}

// Clients send descriptors for every mapping that has a file; the usual soft limit of 1,024 is
// there for programs that use select(), which this one does not.
void RaiseDescriptorLimit() {
  struct rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

const DeviceEntry* Find(std::string_view name) {
  for (const DeviceEntry& entry : KnownDevices()) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

absl::Status List() {
  for (const DeviceEntry& entry : KnownDevices()) {
    fmt::print("{:<12}{}\n", entry.name, entry.description);
  }
  return absl::OkStatus();
}

absl::StatusOr<const DeviceEntry*> CheckArguments(const Arguments& arguments) {
  if (arguments.device.empty()) return UsageError("DEVICE is missing; see vfio-user serve --list");
  const DeviceEntry* const entry = Find(arguments.device);
  if (entry == nullptr) {
    std::vector<std::string_view> names;
    for (const DeviceEntry& known : KnownDevices()) names.push_back(known.name);
    return UsageError(fmt::format("no device is called \"{}\"; give one of {}", arguments.device,
                                  fmt::join(names, ", ")));
  }
  if (arguments.socket_paths.empty()) {
    return UsageError("the socket is missing; give --socket PATH");
  }
  if (arguments.busy_poll_microseconds > kMostBusyPollMicroseconds) {
    return UsageError(fmt::format("--busy-poll is {} microseconds; give at most {}",
                                  arguments.busy_poll_microseconds, kMostBusyPollMicroseconds));
  }
  return entry;
}

absl::StatusOr<std::unique_ptr<Device>> Make(const DeviceEntry& entry, const Arguments& arguments) {
  DeviceOptions options;
  if (arguments.dma_mask_option->count() > 0) options.dma_mask = arguments.dma_mask;
  absl::StatusOr<std::unique_ptr<Device>> device = entry.Create(options);
  if (absl::IsInvalidArgument(device.status())) {
    return UsageError(fmt::format("{}: {}; leave --dma-mask out", entry.name,
                                  std::string(device.status().message())));
  }
  return device;
}

// Like a file that cannot be made: the place that was named is wrong, whoever is there.
absl::Status CheckPlace(const absl::Status& listening) {
  const bool usable = listening.ok() || absl::IsResourceExhausted(listening);
  return usable ? listening : UsageError(std::string(listening.message()));
}

absl::Status Serve(const Arguments& arguments) {
  if (arguments.list) return List();
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceEntry* const entry, CheckArguments(arguments));
  VFIO_USER_ASSIGN_OR_RETURN(const StopSignals signals, StopSignals::Block());
  RaiseDescriptorLimit();
  ServerOptions options;
  if (arguments.no_process_vm) options.process_vm = ProcessVm::kOff;
  options.busy_poll = absl::Microseconds(arguments.busy_poll_microseconds);
  if (arguments.verbose) {
    options.log = [](std::string_view line) { fmt::print(stderr, "{}\n", line); };
  }
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Create(options));
  const std::string mask = arguments.dma_mask_option->count() == 0
                               ? ""
                               : fmt::format(", DMA mask {:#x}", arguments.dma_mask);
  for (const std::string& path : arguments.socket_paths) {
    VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<Device> device, Make(*entry, arguments));
    VFIO_USER_RETURN_IF_ERROR(CheckPlace(server->Listen(path, std::move(device))));
    fmt::print(stderr, "serving {} at {}{}\n", entry->name, path, mask);
  }
  return WaitForTheEnd(signals, arguments);
}

}  // namespace

Action AddServe(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  app.add_option("DEVICE", arguments->device, "which device; --list names them")->type_name("NAME");
  app.add_option("--socket", arguments->socket_paths, "where to listen; may be repeated")
      ->type_name("PATH")
      ->allow_extra_args(false)
      ->check(CheckSocketPath);
  arguments->dma_mask_option = AddNumber(
      app, {"--dma-mask", "NUMBER", "edu: which address bits its DMA has; 0xfffffff\nif not given"},
      arguments->dma_mask);
  app.add_flag("--list", arguments->list, "print the devices there are, a line each, and end");
  app.add_flag("--verbose", arguments->verbose, "say on stderr what is refused, and who leaves");
  app.add_flag("--until-eof", arguments->until_eof,
               "end at the end of standard input too: a pipe from\nwhoever must not be outlived");
  app.add_flag("--no-process-vm", arguments->no_process_vm,
               "reach clients' memory by descriptor only, and not\nby process_vm_readv()");
  AddNumber(app,
            {"--busy-poll", "MICROSECONDS",
             "how long to spin after a message before\nblocking for the next; 0 if not given"},
            arguments->busy_poll_microseconds);
  app.footer(kExamples);
  return [arguments] { return Serve(*arguments); };
}

}  // namespace vfio_user
