// A device's state in a file.
//
//   "vfio-user state\n" @0 | version u32 @16 | vendor u16 @20 | device u16 @22 | 0 u64 @24 |
//   the device's bytes @32 | their number u64 | their CRC-32 u32 | 0 u32
//
// The numbers are little endian. That it is whole and of which device it is can so be told before a
// device is stopped for it.
#ifndef TOOLS_VFIO_USER_STATE_FILE_H_
#define TOOLS_VFIO_USER_STATE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "tools/vfio_user/input_file.h"
#include "tools/vfio_user/output_file.h"
#include "tools/vfio_user/stop_signals.h"

namespace vfio_user {

// Whose state it is: the numbers of PCI, 0 for a device that is not a PCI one.
struct StateOwner {
  uint16_t vendor_id = 0;
  uint16_t device_id = 0;

  static absl::StatusOr<StateOwner> Of(const Client& client);

  friend bool operator==(const StateOwner&, const StateOwner&) = default;
};
std::string ToText(const StateOwner& owner);  // "1234:dc01"

// The CRC-32 of zlib, of bytes that come in pieces. A value type.
class StateChecksum {
 public:
  void Add(std::span<const std::byte> bytes);
  uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = UINT32_MAX;
};

// Appears under its name only when it is complete. Movable. Thread-compatible.
class StateFileWriter {
 public:
  static absl::StatusOr<StateFileWriter> Begin(OutputFile file, const StateOwner& owner);

  absl::Status Write(std::span<const std::byte> piece);
  // To be called last, and once.
  absl::Status Commit();

  uint64_t bytes() const { return bytes_; }  // Of the device's.

 private:
  explicit StateFileWriter(OutputFile file) : file_(std::move(file)) {}

  OutputFile file_;
  uint64_t bytes_ = 0;
  StateChecksum checksum_;
};

// Movable. Thread-compatible.
class StateFileReader {
 public:
  // Reads all of the file once to see that it is whole. A UsageError for one that is not, that is
  // no file of this kind or a later version of it, and for what is not a regular file.
  static absl::StatusOr<StateFileReader> Open(const std::string& path, const StopSignals& stop);

  const StateOwner& owner() const { return content_.owner; }
  uint64_t bytes() const { return content_.bytes; }  // Of the device's.

  // Fills `into` as far as the device's bytes go. DataLoss, and not the last of them, where the
  // file is no longer what Open saw.
  absl::StatusOr<size_t> Read(std::span<std::byte> into);

 private:
  struct Content {
    StateOwner owner;
    uint64_t bytes = 0;
    StateChecksum checksum;
  };

  StateFileReader(InputFile file, const Content& content)
      : file_(std::move(file)), content_(content), left_(content.bytes) {}

  InputFile file_;
  Content content_;
  uint64_t left_;
  StateChecksum read_;  // Of what Read gave.
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_STATE_FILE_H_
