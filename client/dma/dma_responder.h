// Answers the device's DMA messages from the memory that it was lent.
#ifndef CLIENT_DMA_DMA_RESPONDER_H_
#define CLIENT_DMA_DMA_RESPONDER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/dma/dma_table.h"
#include "client/dma/write_record.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/wire/dma_access.h"

namespace vfio_user {

// Serves DMA_READ and DMA_WRITE: no byte moves that the table does not allow, and memory that the
// application has freed is an error for the server, not a signal for this process.
//
// What the server is told: EFAULT outside the mappings, across two, or where the memory is gone;
// EACCES against a mapping's direction, which is what a server says of its own direct accesses;
// E2BIG for more than the data that was negotiated for one message; EINVAL for a body that is not
// what its fields say, and for descriptors; ENOSYS for any other command.
//
// One for each channel, used by one thread at a time: it keeps its buffers from message to message.
class DmaResponder {
 public:
  // `table` and `record`, in which writes are recorded, are borrowed.
  DmaResponder(DmaTable& table, WriteRecord& record, uint32_t max_data_xfer_bytes)
      : table_(table), record_(record), max_data_xfer_bytes_(max_data_xfer_bytes) {}
  DmaResponder(const DmaResponder&) = delete;
  DmaResponder& operator=(const DmaResponder&) = delete;

  // Does what `command` says and replies on `channel`. An error only when the reply cannot be sent.
  absl::Status Answer(IncomingCommand& command, Channel& channel);

 private:
  // Each returns the data that its reply carries, which is in data_.
  absl::StatusOr<std::span<const std::byte>> Execute(const IncomingCommand& command);
  absl::StatusOr<std::span<const std::byte>> Read(std::span<const uint8_t> body);
  absl::StatusOr<std::span<const std::byte>> Write(std::span<const uint8_t> body);
  absl::Status CheckCount(const DmaAccess& access) const;
  void Echo(const DmaAccess& access);

  DmaTable& table_;
  WriteRecord& record_;
  const uint32_t max_data_xfer_bytes_;
  std::vector<uint8_t> echo_;  // The reply's fixed part.
  std::vector<std::byte> data_;
};

}  // namespace vfio_user

#endif  // CLIENT_DMA_DMA_RESPONDER_H_
