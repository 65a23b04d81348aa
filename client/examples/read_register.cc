// Reads a register: read_register SOCKET prints the first four bytes of BAR0.
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "vfio_user/client.h"

namespace {

absl::StatusOr<uint32_t> ReadFirstRegister(const std::string& socket) {
  absl::StatusOr<vfio_user::Client> client = vfio_user::Client::Connect(socket);
  if (!client.ok()) return client.status();
  absl::StatusOr<vfio_user::Region> bar0 = client->OpenRegion(vfio_user::RegionIndex::kBar0);
  if (!bar0.ok()) return bar0.status();
  // One access of exactly four bytes, as a driver would do it.
  return bar0->Read<uint32_t>(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: read_register SOCKET\n");
    return 2;
  }
  const absl::StatusOr<uint32_t> value = ReadFirstRegister(argv[1]);
  if (!value.ok()) {
    fmt::print(stderr, "{}\n", value.status().ToString());
    return 1;
  }
  fmt::print("{:#010x}\n", *value);
  return 0;
}
