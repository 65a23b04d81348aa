// Which memory a device writes, for whoever copies or saves that memory while the device runs.
#ifndef CLIENT_DMA_LOG_H_
#define CLIENT_DMA_LOG_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/device_features.h"
#include "client/dirty_pages.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

class DmaMapper;
class Session;

struct DmaLogOptions {
  // What the device is asked to tell apart, in bytes; a power of two. It may choose otherwise.
  //
  // To libvfio-user, which reports each mapping from its beginning only, this limits how long a
  // mapping may be that is reported whole: its bitmap has to fit one message. With 4 KiB pages and
  // the usual 1 MiB per message that is just under 32 GiB, above which Report() is
  // ResourceExhausted. Ask for larger pages then, or map the memory in several pieces.
  uint64_t page_size = 4096;
  // Where; the device may log more than that. Without any: all that is mapped, now and later. Some
  // thousands fit a message, and more are ResourceExhausted.
  std::vector<IovaRange> ranges = {};
};

// What the device writes is noted for as long as this lives; one at a time for a client. What is
// written by DMA messages the client notes itself, whether the server does or not.
//
// Movable. Thread-compatible, and not together with DmaMapping::UnmapAndReport.
class DmaLog {
 public:
  DmaLog(DmaLog&& other) noexcept = default;
  DmaLog& operator=(DmaLog&& other) noexcept;
  ~DmaLog();  // Stop().

  // The device's, in bytes. Reports may have another: larger pages are dirty where a page in them
  // is, smaller ones where the page that they are in is.
  uint64_t page_size() const { return page_size_; }

  // What was written in `range`, wherever it lies, since the last report of it; each write is told
  // once. Errors as DirtyPages::Create, and the server's; the next report tells then what this one
  // would have, but after DeadlineExceeded what was written may be lost. Asks for as much at a time
  // as fits a message. Where the server refuses a range like that, asks for each mapping in it;
  // one of which not all fits a message is ResourceExhausted then.
  absl::StatusOr<DirtyPages> Report(const IovaRange& range, uint64_t page_size) const;

  // The second call does nothing. What was not reported is forgotten, also on an error.
  absl::Status Stop();

 private:
  friend class Client;
  // Returns the page size that the device logs in.
  static absl::StatusOr<uint64_t> StartAtServer(Session& session, const DeviceFeatures& features,
                                                const DmaLoggingStart& request);
  DmaLog(std::shared_ptr<DmaMapper> mapper, DeviceFeatures features, uint64_t page_size)
      : mapper_(std::move(mapper)), features_(std::move(features)), page_size_(page_size) {}

  static absl::StatusOr<DmaLog> Start(std::shared_ptr<DmaMapper> mapper,
                                      const DmaLogOptions& options);

  // Marks what the server says of `range` in `pages`, or has the client keep it.
  absl::Status Pull(const IovaRange& range, DirtyPages& pages) const;
  absl::Status PullByMapping(const IovaRange& range) const;
  absl::StatusOr<DirtyPages> AskServer(const IovaRange& range) const;

  std::shared_ptr<DmaMapper> mapper_;  // Null once stopped, and when moved from.
  DeviceFeatures features_;
  uint64_t page_size_;
};

}  // namespace vfio_user

#endif  // CLIENT_DMA_LOG_H_
