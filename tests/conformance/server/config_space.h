// Accesses to regions as the checks make them, and the registers of config space that they use.
#ifndef TESTS_CONFORMANCE_SERVER_CONFIG_SPACE_H_
#define TESTS_CONFORMANCE_SERVER_CONFIG_SPACE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/device_info.h"
#include "tests/conformance/server/server_under_test.h"
#include "tests/conformance/server/wire_client.h"

namespace vfio_user {

inline constexpr uint64_t kCommandRegister = 0x04;  // 2 bytes.
inline constexpr uint8_t kMemoryEnable = 2;
inline constexpr uint8_t kBusMaster = 4;
inline constexpr uint64_t kBar0Register = 0x10;  // 4 bytes.
// A byte that keeps what software writes to it, and means nothing to the device.
inline constexpr uint64_t kInterruptLine = 0x3c;

WireRequest ReadRequest(RegionIndex region, uint64_t offset, uint32_t count);
WireRequest WriteRequest(RegionIndex region, uint64_t offset, std::span<const uint8_t> data);

// What was read; the reply must be about what was asked for.
absl::StatusOr<std::vector<uint8_t>> ReadConfig(WireClient& client, uint64_t offset,
                                                uint32_t count);
absl::Status WriteConfig(WireClient& client, uint64_t offset, std::span<const uint8_t> data);

// OK where there is config space to try accesses on, else why the check is skipped.
absl::Status NeedsConfig(const ServerUnderTest& server);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_CONFIG_SPACE_H_
