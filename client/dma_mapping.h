// Memory that a device may reach.
#ifndef CLIENT_DMA_MAPPING_H_
#define CLIENT_DMA_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "client/dirty_pages.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

class DmaMapper;
struct LiveMapping;

// The device may reach the memory for as long as this lives. Movable. Thread-compatible; handles
// of one Client may be used on different threads at once. It keeps the connection alive.
class DmaMapping {
 public:
  DmaMapping(DmaMapping&& other) noexcept;
  DmaMapping& operator=(DmaMapping&& other) noexcept;
  // Unmap(). Returns only when the server has let go of the memory, or the connection is closed
  // because it did not say so in time.
  ~DmaMapping();

  // Where the device finds the memory's first byte.
  Iova iova() const { return iova_; }
  uint64_t size() const { return size_; }  // In bytes.
  // The path it got; never kAuto.
  DmaPath path() const { return path_; }

  // Takes the memory away from the device; afterwards it is the application's alone, unless the
  // server was given a descriptor and does not keep to the protocol. The second call does nothing,
  // nor does one after Client::UnmapAll(). Blocks for one round trip. An error means that the
  // connection is gone, and with it the mapping.
  absl::Status Unmap();

  // The same, and tells which pages the device wrote since the last report of them. For clients
  // that log DMA (Client::StartDmaLogging): FailedPrecondition for others and for what is unmapped
  // already, InvalidArgument and ResourceExhausted as DirtyPages::Create; then it stays mapped.
  // After any other error it is unmapped, and what was written is not known: take it all to be.
  // Unimplemented: the server does not say.
  absl::StatusOr<DirtyPages> UnmapAndReport(uint64_t page_size);

 private:
  friend class DmaMapper;
  DmaMapping(std::shared_ptr<DmaMapper> mapper, uint64_t id, const LiveMapping& mapping);

  std::shared_ptr<DmaMapper> mapper_;  // Null once unmapped, and when moved from.
  uint64_t id_ = 0;                    // See LiveMappings.
  Iova iova_{};
  uint64_t size_ = 0;
  DmaPath path_ = DmaPath::kAuto;
};

}  // namespace vfio_user

#endif  // CLIENT_DMA_MAPPING_H_
