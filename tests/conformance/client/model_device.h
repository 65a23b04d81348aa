// What a server that behaves answers.
#ifndef TESTS_CONFORMANCE_CLIENT_MODEL_DEVICE_H_
#define TESTS_CONFORMANCE_CLIENT_MODEL_DEVICE_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

// A PCI device of nine regions, of which BAR 0 has 4 KiB that can be read and written, BAR 2 16 KiB
// of the same byte, and the configuration space 256 bytes, and of five interrupt types, of which
// MSI-X has four vectors. Logs what it writes, which is nothing, and can be saved and loaded.
// Thread-compatible.
class ModelDevice {
 public:
  static constexpr uint32_t kBar0Bytes = 4096;
  static constexpr uint32_t kBar2Bytes = 0x4000;
  // What BAR 2 has everywhere, as messages have it.
  static constexpr uint8_t kBar2Byte = 0x4d;
  static constexpr uint32_t kConfigBytes = 256;
  static constexpr uint32_t kMsixVectors = 4;
  // What BAR 0 has at offset 0 until it is written.
  static constexpr uint32_t kFirstRegister = 0x1badb002;
  // What there is to save of it; it may be loaded with as much of anything.
  static constexpr uint32_t kStateBytes = 24;
  static constexpr uint8_t kStateByte = 0x53;

  ModelDevice();

  struct Response {
    uint32_t wire_errno = 0;  // 0 for success.
    std::vector<uint8_t> body{};
    std::vector<UniqueFd> fds{};
  };
  // What to answer `request` with, which is carried out. An error is a request that no client may
  // send: one that is malformed, or contradicts what the device said before.
  absl::StatusOr<Response> Answer(ScriptedPeer::Message& request);

  // Signals the eventfd that the vector is bound to; NotFound if there is none.
  absl::Status Signal(IrqIndex index, uint32_t vector, uint64_t times = 1) const;

 private:
  absl::StatusOr<Response> DescribeRegion(const ScriptedPeer::Message& request) const;
  absl::StatusOr<Response> DescribeIrq(const ScriptedPeer::Message& request) const;
  absl::StatusOr<Response> SetIrqs(ScriptedPeer::Message& request);
  absl::StatusOr<Response> ReadRegion(const ScriptedPeer::Message& request) const;
  absl::StatusOr<Response> WriteRegion(const ScriptedPeer::Message& request);
  absl::StatusOr<Response> MapDma(const ScriptedPeer::Message& request);
  absl::StatusOr<Response> UnmapDma(const ScriptedPeer::Message& request);
  absl::StatusOr<Response> AnswerFeature(const ScriptedPeer::Message& request);
  absl::StatusOr<Response> SetState(const DeviceFeature& asked);
  absl::StatusOr<Response> ReadState(const ScriptedPeer::Message& request);
  absl::StatusOr<Response> WriteState(const ScriptedPeer::Message& request) const;

  std::vector<uint8_t> bar0_;
  std::map<std::pair<IrqIndex, uint32_t>, UniqueFd> eventfds_;
  std::map<Iova, uint64_t> mappings_;  // Lengths in bytes.
  MigState state_ = MigState::kRunning;
  uint32_t state_left_ = 0;  // In bytes, of what is being saved.
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_MODEL_DEVICE_H_
