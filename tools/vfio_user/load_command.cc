// vfio-user load: a device's state out of a file that `vfio-user save` wrote.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/device_migration.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/byte_text.h"
#include "tools/vfio_user/progress_bar.h"
#include "tools/vfio_user/state_file.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "The file is read once before, to see that it is whole. The device runs on\n"
    "afterwards; when it does not take the state, or not all of it comes, it has lost\n"
    "its own and is reset.\n"
    "Examples:\n"
    "  vfio-user save /tmp/copy.sock copy.state\n"
    "  vfio-user load /tmp/other.sock copy.state";

struct Arguments {
  std::string socket_path;
  std::string file;
};

absl::Status CheckOwner(const Arguments& arguments, const StateOwner& file,
                        const StateOwner& device) {
  if (file == device) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{} is the state of a {} and {} serves a {}; load it into a device of its kind",
                  arguments.file, ToText(file), arguments.socket_path, ToText(device)));
}

absl::Status Load(const Arguments& arguments) {
  VFIO_USER_ASSIGN_OR_RETURN(const StopSignals stop, StopSignals::Block());
  VFIO_USER_ASSIGN_OR_RETURN(StateFileReader file, StateFileReader::Open(arguments.file, stop));
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  VFIO_USER_ASSIGN_OR_RETURN(const StateOwner owner, StateOwner::Of(client));
  VFIO_USER_RETURN_IF_ERROR(CheckOwner(arguments, file.owner(), owner));
  const absl::StatusOr<DeviceMigration> migration = client.OpenMigration();
  VFIO_USER_RETURN_IF_ERROR(Annotate(migration.status(), arguments.socket_path));
  {
    ProgressBar bar(STDERR_FILENO, file.bytes());
    uint64_t done = 0;
    const absl::StatusOr<uint64_t> loaded =
        migration->Load([&](std::span<std::byte> into) -> absl::StatusOr<size_t> {
          VFIO_USER_RETURN_IF_ERROR(stop.Check());
          bar.Update(done);
          VFIO_USER_ASSIGN_OR_RETURN(const size_t count, file.Read(into));
          done += count;
          return count;
        });
    VFIO_USER_RETURN_IF_ERROR(
        Annotate(loaded.status(), fmt::format("{}: not loaded", arguments.socket_path)));
  }
  fmt::print(stderr, "loaded {} into {}, which runs\n", ByteText(file.bytes()), ToText(owner));
  return absl::OkStatus();
}

}  // namespace

Action AddLoad(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path);
  app.add_option("FILE", arguments->file, "the file to read")->required()->type_name("");
  app.footer(kExamples);
  return [arguments] { return Load(*arguments); };
}

}  // namespace vfio_user
