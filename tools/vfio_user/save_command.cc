// vfio-user save: a device's state into a file.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

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
#include "tools/vfio_user/output_file.h"
#include "tools/vfio_user/progress_bar.h"
#include "tools/vfio_user/state_file.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "The device stops while it is read, and runs on afterwards, also when something\n"
    "fails. FILE appears under its name only when it is complete.\n"
    "Examples:\n"
    "  vfio-user save /tmp/copy.sock copy.state\n"
    "  vfio-user load /tmp/other.sock copy.state";

struct Arguments {
  std::string socket_path;
  std::string file;
};

// Of the state, of which the first `piece_bytes` have come; nullopt where the server does not tell.
std::optional<uint64_t> TotalBytes(const DeviceMigration& migration, size_t piece_bytes) {
  const absl::StatusOr<uint64_t> left = migration.BytesLeft();
  return left.ok() ? std::optional<uint64_t>(piece_bytes + *left) : std::nullopt;
}

absl::Status Save(const Arguments& arguments) {
  VFIO_USER_ASSIGN_OR_RETURN(OutputFile output, OutputFile::Create(arguments.file));
  // Not before: to open a pipe waits for whoever is at its other end.
  VFIO_USER_ASSIGN_OR_RETURN(const StopSignals stop, StopSignals::Block());
  output.StopAt(stop);
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  const absl::StatusOr<DeviceMigration> migration = client.OpenMigration();
  VFIO_USER_RETURN_IF_ERROR(Annotate(migration.status(), arguments.socket_path));
  VFIO_USER_ASSIGN_OR_RETURN(const StateOwner owner, StateOwner::Of(client));
  VFIO_USER_ASSIGN_OR_RETURN(StateFileWriter file,
                             StateFileWriter::Begin(std::move(output), owner));
  {
    std::optional<ProgressBar> bar;
    const absl::StatusOr<uint64_t> saved =
        migration->Save([&](std::span<const std::byte> piece) -> absl::Status {
          VFIO_USER_RETURN_IF_ERROR(stop.Check());
          if (!bar) bar.emplace(STDERR_FILENO, TotalBytes(*migration, piece.size()));
          VFIO_USER_RETURN_IF_ERROR(file.Write(piece));
          bar->Update(file.bytes());
          return absl::OkStatus();
        });
    VFIO_USER_RETURN_IF_ERROR(
        Annotate(saved.status(), fmt::format("{}: not saved", arguments.socket_path)));
  }
  VFIO_USER_RETURN_IF_ERROR(file.Commit());
  fmt::print(stderr, "saved {} of {}, which runs on\n", ByteText(file.bytes()), ToText(owner));
  return absl::OkStatus();
}

}  // namespace

Action AddSave(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path);
  app.add_option("FILE", arguments->file, "the file to write; one that is there is replaced")
      ->required()
      ->type_name("");
  app.footer(kExamples);
  return [arguments] { return Save(*arguments); };
}

}  // namespace vfio_user
