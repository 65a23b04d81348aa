// Serves an AllPartsDevice, as ChildServer asks `vfio-user` to serve one of the others:
//
//   serve_all_parts serve all-parts --socket PATH --until-eof [--busy-poll MICROSECONDS]
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "server/server.h"
#include "tests/conformance/server/all_parts_device.h"

namespace vfio_user {
namespace {

absl::Status Serve(const char* path, const ServerOptions& options) {
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<AllPartsDevice> device, AllPartsDevice::Create());
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Create(options));
  VFIO_USER_RETURN_IF_ERROR(server->Listen(path, std::move(device)));
  fmt::print(stderr, "serving all-parts at {}\n", path);
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  vfio_user::ServerOptions options;
  if (argc == 8) options.busy_poll = absl::Microseconds(std::atoi(argv[7]));
  const absl::Status status = vfio_user::Serve(argv[4], options);
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.ToString());
  return 1;
}
