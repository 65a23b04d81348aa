// A device that can be made to do DMA, and the memory that a check lends it.
#ifndef TESTS_CONFORMANCE_SERVER_DMA_ENGINE_H_
#define TESTS_CONFORMANCE_SERVER_DMA_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/device_info.h"
#include "tests/conformance/server/server_traits.h"
#include "tests/conformance/server/server_under_test.h"
#include "tests/conformance/server/wire_client.h"

namespace vfio_user {

// Bytes at bus addresses, for which the server asks by message. Thread-compatible.
class MessageMemory {
 public:
  // Zeros. Does not tell the server: that is a DMA_MAP's to do.
  void Add(uint64_t address, size_t bytes);

  // Puts bytes where some were added.
  absl::Status Fill(uint64_t address, std::span<const uint8_t> bytes);
  // What is there; empty where nothing was added.
  std::vector<uint8_t> Content(uint64_t address, size_t bytes);

  // Answers a DMA_READ or DMA_WRITE: with EFAULT outside of what was added.
  absl::Status Serve(WireClient& client, const WireClient::Message& command);

  // Of the messages that were served: how many were about an address in [first, first + bytes), and
  // the most bytes that one of them was about.
  int MessagesAbout(uint64_t first, uint64_t bytes) const;
  uint64_t most_bytes() const { return most_bytes_; }

 private:
  // Where the message's data is; empty outside.
  std::span<uint8_t> Find(uint64_t address, uint64_t count);

  std::map<uint64_t, std::vector<uint8_t>> ranges_;
  std::vector<uint64_t> addresses_;
  uint64_t most_bytes_ = 0;
};

// Sends a command and receives its reply, answering the server's commands that come before it.
absl::StatusOr<WireClient::Message> DoServing(WireClient& client, MessageMemory& memory,
                                              const WireRequest& request);

struct EngineCopy {
  uint64_t source = 0;  // Bus addresses below 2^28.
  uint64_t destination = 0;
  uint64_t bytes = 0;  // At most 4096.
};

// Drives the device of one client through its registers. Thread-compatible.
class DmaEngine {
 public:
  // Resets the device, switches bus mastering on and lends it what it needs itself. Skips where no
  // device is known by which DMA can be done. Both are borrowed.
  static absl::StatusOr<DmaEngine> Start(ServerUnderTest& server, WireClient& client,
                                         MessageMemory& memory);

  // Everything up to the register write, which is returned, that makes the device read the source
  // (and, where it copies in one go, write the destination).
  absl::StatusOr<WireRequest> Prepare(const EngineCopy& copy);
  // Once that was answered: serves the device until it is done. A copy that it could not do is no
  // error.
  absl::Status Finish(const EngineCopy& copy);

  absl::Status Run(const EngineCopy& copy);

 private:
  DmaEngine(DmaEngineKind kind, WireClient& client, MessageMemory& memory)
      : kind_(kind), client_(client), memory_(memory) {}

  WireRequest RegisterWrite(uint64_t offset, uint64_t value, size_t bytes) const;
  absl::Status Write(uint64_t offset, uint64_t value, size_t bytes);
  // Serves the device until `bit` of the register is 0.
  absl::Status WaitForZero(uint64_t offset, uint32_t bit);
  absl::StatusOr<WireRequest> PrepareEdu(uint64_t source, uint64_t destination,
                                         const EngineCopy& copy);

  DmaEngineKind kind_;
  WireClient& client_;
  MessageMemory& memory_;
  uint32_t doorbell_ = 0;
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_DMA_ENGINE_H_
