// What is passed to the server is not kept longer than it is of use.
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/irq_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kSecurity = "Security Considerations";

// The count before and after `rounds` of `one`, which must not differ.
template <typename Round>
absl::Status LeavesTheCount(ServerUnderTest& server, int rounds, Round one) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  // What is made once and kept is no leak.
  VFIO_USER_RETURN_IF_ERROR(one(client));
  VFIO_USER_RETURN_IF_ERROR(client.InStep());
  VFIO_USER_ASSIGN_OR_RETURN(const int before, server.OpenFds(client));
  for (int i = 0; i < rounds; ++i) VFIO_USER_RETURN_IF_ERROR(one(client));
  return server.WaitForFds(client, before);
}

absl::Status Rebinds(ServerUnderTest& server) {
  const IrqInfo* const irq = server.traits().signalled_irq();
  if (irq == nullptr) return Skip("the device has no interrupt that signals an eventfd");
  const IrqSignal one = IrqSignal::Create();
  const IrqSignal other = IrqSignal::Create();
  return LeavesTheCount(server, 1000, [&](WireClient& client) -> absl::Status {
    VFIO_USER_RETURN_IF_ERROR(Bind(client, irq->index, {one.fd()}));
    return Bind(client, irq->index, {other.fd()});
  });
}

absl::Status DisablesAndBinds(ServerUnderTest& server) {
  const IrqInfo* const irq = server.traits().signalled_irq();
  if (irq == nullptr) return Skip("the device has no interrupt that signals an eventfd");
  const IrqSignal signal = IrqSignal::Create();
  return LeavesTheCount(server, 500, [&](WireClient& client) -> absl::Status {
    VFIO_USER_RETURN_IF_ERROR(Bind(client, irq->index, {signal.fd()}));
    return client.DoPlain(SetIrqs({.index = irq->index, .count = 0}));
  });
}

// Eight under way at a time, as QEMU has them, each with a file of its own.
absl::Status MapsAndUnmaps(ServerUnderTest& server) {
  std::vector<UniqueFd> files;
  for (int i = 0; i < 8; ++i) files.push_back(MemoryFile(0x1000));
  return LeavesTheCount(server, 10000 / 8, [&](WireClient& client) -> absl::Status {
    std::vector<MessageHeader> sent;
    for (uint64_t i = 0; i < files.size(); ++i) {
      const uint64_t address = 0x100000 + i * 0x1000;
      VFIO_USER_ASSIGN_OR_RETURN(
          sent.emplace_back(),
          client.Send(MapRequest({.address = address, .size = 0x1000}, {FdView(files[i])})));
      VFIO_USER_ASSIGN_OR_RETURN(sent.emplace_back(),
                                 client.Send(UnmapRequest({.address = address, .size = 0x1000})));
    }
    for (const MessageHeader& command : sent) {
      VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.ReceiveReply(command));
      if (reply.header.error_flag) return Misbehaved("a map or an unmap was refused");
    }
    return absl::OkStatus();
  });
}

absl::Status RefusedMaps(ServerUnderTest& server) {
  const UniqueFd file = MemoryFile(0x1000);
  return LeavesTheCount(server, 500, [&](WireClient& client) {
    return client.Ask(MapRequest({.argsz = 1, .size = 0x1000}, {FdView(file)})).status();
  });
}

absl::Status RefusedBindings(ServerUnderTest& server) {
  const IrqSignal signal = IrqSignal::Create();
  return LeavesTheCount(server, 500, [&](WireClient& client) {
    return client.Ask(SetIrqs({.argsz = 1, .flags = kIrqEventfd | kIrqTrigger}, {signal.fd()}))
        .status();
  });
}

absl::Status StrayDescriptors(ServerUnderTest& server) {
  const UniqueFd file = MemoryFile(0x1000);
  return LeavesTheCount(server, 200, [&](WireClient& client) {
    return client
        .Ask({.command = Command::kDeviceGetInfo,
              .body = Serialize(DeviceInfoRequest()),
              .fds = {FdView(file), FdView(file), FdView(file)}})
        .status();
  });
}

// Each with a mapping and a file that go with it.
absl::Status Connects(ServerUnderTest& server) {
  int before = 0;
  {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
    VFIO_USER_RETURN_IF_ERROR(client.InStep());
    VFIO_USER_ASSIGN_OR_RETURN(before, server.OpenFds(client));
  }
  const UniqueFd file = MemoryFile(0x1000);
  for (int i = 0; i < 1000; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client,
                               server.Connect(R"({"capabilities":{"max_msg_fds":8,)"
                                              R"("twin_socket":{"supported":true}}})"));
    VFIO_USER_RETURN_IF_ERROR(
        InCase(client.Do(MapRequest({.size = 0x1000}, {FdView(file)})).status(),
               fmt::format("client {}", i)));
  }
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  return server.WaitForFds(client, before);
}

absl::Status HalfMessages(ServerUnderTest& server) {
  int before = 0;
  {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
    VFIO_USER_RETURN_IF_ERROR(client.InStep());
    VFIO_USER_ASSIGN_OR_RETURN(before, server.OpenFds(client));
  }
  const UniqueFd file = MemoryFile(0x1000);
  for (int i = 0; i < 50; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
    const MessageHeader header = {.msg_id = 1, .command = Command::kDmaMap, .msg_size = 48};
    VFIO_USER_RETURN_IF_ERROR(client.SendBytes(header.Serialize(), std::vector(8, FdView(file))));
  }
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  return server.WaitForFds(client, before);
}

constexpr ServerCheck kChecks[] = {
    {"descriptors/2000-rebinds-leave-none", "VFIO_USER_DEVICE_SET_IRQS", Requirement::kRequired,
     Rebinds},
    {"descriptors/bindings-that-are-disabled-leave-none", "VFIO_USER_DEVICE_SET_IRQS",
     Requirement::kRequired, DisablesAndBinds},
    {"descriptors/10000-mappings-leave-none", "VFIO_USER_DMA_UNMAP", Requirement::kRequired,
     MapsAndUnmaps},
    {"descriptors/refused-mappings-leave-none", kSecurity, Requirement::kRequired, RefusedMaps},
    {"descriptors/refused-bindings-leave-none", kSecurity, Requirement::kRequired, RefusedBindings},
    {"descriptors/stray-ones-are-closed", kSecurity, Requirement::kRequired, StrayDescriptors},
    {"descriptors/1000-clients-leave-none", "Client Disconnection", Requirement::kRequired,
     Connects},
    {"descriptors/half-messages-leave-none", kSecurity, Requirement::kRequired, HalfMessages},
};

}  // namespace

std::span<const ServerCheck> DescriptorChecks() { return kChecks; }

}  // namespace vfio_user
