// Serves an AllPartsDevice, as ChildServer asks `vfio-user` to serve one of the others:
//
//   serve_all_parts serve all-parts --socket PATH --until-eof [--busy-poll MICROSECONDS]
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "server/server.h"
#include "tests/conformance/server/all_parts_device.h"

namespace vfio_user {
namespace {

absl::Status Serve(const std::string& path, const ServerOptions& options) {
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<AllPartsDevice> device, AllPartsDevice::Create());
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Create(options));
  VFIO_USER_RETURN_IF_ERROR(server->Listen(path, std::move(device)));
  fmt::print(stderr, "serving all-parts at {}\n", path);
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return absl::OkStatus();
}

int Run(int argc, char** argv) {
  CLI::App app("Serves a device that is only for tests.");
  CLI::App* const serve = app.add_subcommand("serve");
  app.require_subcommand(1);
  std::string device;
  std::string path;
  uint32_t busy_poll_microseconds = 0;
  serve->add_option("DEVICE", device)->required()->check(CLI::IsMember({"all-parts"}));
  serve->add_option("--socket", path)->required();
  serve->add_flag("--until-eof")->required();
  serve->add_option("--busy-poll", busy_poll_microseconds);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "serve_all_parts: {}\n", error.what());
    return 2;
  }
  const absl::Status status =
      Serve(path, {.busy_poll = absl::Microseconds(busy_poll_microseconds)});
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.ToString());
  return 1;
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
