// vfio-user reset: a device back to its state after power-on.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/client.h"
#include "client/pci_function.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  vfio-user reset /tmp/copy.sock\n"
    "  vfio-user reset /tmp/copy.sock --flr";

struct Arguments {
  std::string socket_path;
  bool function_level = false;
};

absl::Status Reset(const Arguments& arguments) {
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  if (!arguments.function_level) return client.Reset();
  VFIO_USER_ASSIGN_OR_RETURN(const PciFunction pci, client.OpenPci());
  return pci.ResetFunction();
}

}  // namespace

Action AddReset(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path);
  app.add_flag("--flr", arguments->function_level, "by its PCI Express function level reset");
  app.footer(kExamples);
  return [arguments] { return Reset(*arguments); };
}

}  // namespace vfio_user
