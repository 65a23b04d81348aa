// vfio-user write: one register.
#include <cstdint>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/region.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/register_access.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  vfio-user write /tmp/null.sock bar0 0x10 0xdeadbeef\n"
    "  vfio-user write /tmp/copy.sock config 4 0x6 --width 2";

struct Arguments {
  std::string socket_path;
  RegionIndex region{};
  uint64_t offset = 0;
  uint64_t value = 0;
  uint64_t width = 4;
};

absl::Status Write(const Arguments& arguments) {
  if (arguments.width < 8 && arguments.value >> (8 * arguments.width) != 0) {
    return UsageError(fmt::format("{:#x} does not fit {} bytes; give a larger --width",
                                  arguments.value, arguments.width));
  }
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  VFIO_USER_ASSIGN_OR_RETURN(const Region region, OpenRegionForUser(client, arguments.region));
  VFIO_USER_RETURN_IF_ERROR(CheckInside(region, arguments.offset, arguments.width, 1));
  return WriteRegister(region, arguments.offset, arguments.width, arguments.value);
}

}  // namespace

Action AddWrite(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path);
  AddRegion(app, arguments->region);
  AddNumber(app, {"OFFSET", "NUMBER", "of the register in the region, in bytes"}, arguments->offset)
      ->required();
  AddNumber(app, {"VALUE", "NUMBER", "to write"}, arguments->value)->required();
  AddWidth(app, arguments->width);
  app.footer(kExamples);
  return [arguments] { return Write(*arguments); };
}

}  // namespace vfio_user
