// The log of the client's memory that devices write, for transfers that write it and commands that
// read it.
#ifndef SERVER_DMA_DMA_WRITE_LOG_H_
#define SERVER_DMA_DMA_WRITE_LOG_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/wire/device_feature.h"
#include "server/dma/dirty_log.h"
#include "server/dma_space.h"

namespace vfio_user {

// Off at first. Thread-safe; nothing blocks but for the time that a report takes.
class DmaWriteLog {
 public:
  // What one transfer writes, from before its first byte moves until after its last one.
  //
  // It is marked before, so that who sees the bytes finds them in a report. And where a report
  // came meanwhile, it is marked again after: its reader may have copied the memory before the
  // bytes were there. So it is where logging began meanwhile.
  class Writing {
   public:
    // `pieces` are borrowed, checked to be no more than what is mapped.
    Writing(DmaWriteLog& log, std::span<const DmaWritePiece> pieces)
        : log_(log), pieces_(pieces), marked_at_(log.on() ? log.Mark(pieces, 0) : 0) {}
    ~Writing() {
      if (log_.on()) log_.Mark(pieces_, marked_at_);
    }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

   private:
    DmaWriteLog& log_;
    const std::span<const DmaWritePiece> pieces_;
    const uint64_t marked_at_;
  };

  // Begins with nothing dirty. `start` is one that Parse accepted. InvalidArgument (EINVAL) when it
  // is on already.
  absl::Status Start(const DmaLoggingStart& start);
  // Forgets everything. Nothing when it is off.
  void Stop();

  bool on() const { return on_.load(std::memory_order_relaxed); }

  // Fills in the bitmap of `report`, which Parse accepted and whose length the caller has judged,
  // and forgets what that tells. InvalidArgument (EINVAL) when it is off.
  absl::Status Report(DmaLoggingReport& report);

 private:
  // Marks the pieces unless they were marked at `marked_at` and nobody has read the log since.
  // Returns when this was, in numbers that Report, Start and Stop advance; never 0 while it is on.
  uint64_t Mark(std::span<const DmaWritePiece> pieces, uint64_t marked_at);

  // Whether log_ has a value. Relaxed, because a transfer reads it again after its bytes moved: if
  // it still finds nothing then, they were there before the client had the answer to Start.
  std::atomic<bool> on_ = false;

  Mutex mu_;
  std::optional<DirtyLog> log_ ABSL_GUARDED_BY(mu_);
  uint64_t readings_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace vfio_user

#endif  // SERVER_DMA_DMA_WRITE_LOG_H_
