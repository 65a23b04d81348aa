// vfio-user read: registers, a line each.
#include <cstdint>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/region.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/register_access.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "Prints `OFFSET VALUE` in hex, a line for each register.\n"
    "Examples:\n"
    "  vfio-user read /tmp/copy.sock bar0 0\n"
    "  vfio-user read /tmp/copy.sock bar0 0x10 --width 8\n"
    "  vfio-user read /tmp/copy.sock config 0 --width 2 --count 32 | cut -d' ' -f2";

struct Arguments {
  std::string socket_path;
  RegionIndex region{};
  uint64_t offset = 0;
  uint64_t width = 4;
  uint64_t count = 1;
  bool json = false;
};

absl::Status Read(const Arguments& arguments) {
  if (arguments.count == 0)
    return UsageError("--count is 0; give how many registers to read, at least 1");
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  VFIO_USER_ASSIGN_OR_RETURN(const Region region, OpenRegionForUser(client, arguments.region));
  // Before anything is read, so that a count that is too large does not end in half an answer.
  VFIO_USER_RETURN_IF_ERROR(
      CheckInside(region, arguments.offset, arguments.width, arguments.count));
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (uint64_t i = 0; i < arguments.count; ++i) {
    const uint64_t offset = arguments.offset + i * arguments.width;
    VFIO_USER_ASSIGN_OR_RETURN(const uint64_t value, ReadRegister(region, offset, arguments.width));
    if (arguments.json) {
      list.push_back({{"offset", offset}, {"value", value}});
    } else {
      fmt::print("{:#06x} {:#0{}x}\n", offset, value, 2 + 2 * arguments.width);
    }
  }
  if (arguments.json) {
    const nlohmann::ordered_json all = {
        {"region", ToText(arguments.region)}, {"width", arguments.width}, {"registers", list}};
    fmt::print("{}\n", all.dump(2));
  }
  return absl::OkStatus();
}

}  // namespace

Action AddRead(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path);
  AddRegion(app, arguments->region);
  AddNumber(app, {"OFFSET", "NUMBER", "of the first register in the region, in bytes"},
            arguments->offset)
      ->required();
  AddWidth(app, arguments->width);
  AddNumber(app, {"--count", "NUMBER", "of registers, one behind the other (default 1)"},
            arguments->count);
  app.add_flag("--json", arguments->json, "print JSON");
  app.footer(kExamples);
  return [arguments] { return Read(*arguments); };
}

}  // namespace vfio_user
