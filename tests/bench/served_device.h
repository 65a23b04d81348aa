// The devices of this tree, for benchmarks.
#ifndef TESTS_BENCH_SERVED_DEVICE_H_
#define TESTS_BENCH_SERVED_DEVICE_H_

#include <memory>
#include <string_view>

#include "proto_defs/transport/unique_fd.h"
#include "server/device.h"
#include "server/server.h"

namespace vfio_user {

// A new device of that name. Aborts the program where there is none.
std::unique_ptr<Device> KnownDevice(std::string_view name = "null");

// Serves one at `socket` for as long as this process lives: what a PeerProcess is to run.
void ServeDevice(UniqueFd socket, std::string_view name = "null",
                 const ServerOptions& options = {});

}  // namespace vfio_user

#endif  // TESTS_BENCH_SERVED_DEVICE_H_
