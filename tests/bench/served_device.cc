#include "tests/bench/served_device.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "server/devices/registry.h"

namespace vfio_user {

std::unique_ptr<Device> KnownDevice(std::string_view name) {
  const auto entry = std::ranges::find(KnownDevices(), name, &DeviceEntry::name);
  if (entry == KnownDevices().end()) std::abort();
  auto device = entry->Create();
  if (!device.ok()) std::abort();
  return *std::move(device);
}

void ServeDevice(UniqueFd socket, std::string_view name, const ServerOptions& options) {
  auto server = Server::Create(options);
  if (!server.ok() || !(*server)->Adopt(std::move(socket), KnownDevice(name)).ok()) std::abort();
  (*server)->Run();
}

}  // namespace vfio_user
