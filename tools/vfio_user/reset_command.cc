// vfio-user reset: a device back to its state after power-on.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/client.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  vfio-user reset /tmp/copy.sock";

absl::Status Reset(const std::string& socket_path) {
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(socket_path));
  return client.Reset();
}

}  // namespace

Action AddReset(CLI::App& app) {
  const auto socket_path = std::make_shared<std::string>();
  AddSocketPath(app, *socket_path);
  app.footer(kExamples);
  return [socket_path] { return Reset(*socket_path); };
}

}  // namespace vfio_user
