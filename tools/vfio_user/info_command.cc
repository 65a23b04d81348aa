// vfio-user info: the device as a person wants to see it.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/device_report.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  vfio-user info /tmp/copy.sock\n"
    "  vfio-user info /tmp/copy.sock --json | jq .pci.device_id";

struct Arguments {
  std::string socket_path;
  bool json = false;
};

absl::Status Info(const Arguments& arguments) {
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceReport report, GatherDeviceReport(client));
  if (arguments.json) {
    fmt::print("{}\n", ReportJson(report).dump(2));
  } else {
    fmt::print("{}", ReportText(report));
  }
  return absl::OkStatus();
}

}  // namespace

Action AddInfo(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path);
  app.add_flag("--json", arguments->json, "print JSON");
  app.footer(kExamples);
  return [arguments] { return Info(*arguments); };
}

}  // namespace vfio_user
