#include "server/dma/dma_write_log.h"

#include "proto_defs/wire/iova.h"

namespace vfio_user {

absl::Status DmaWriteLog::Start(const DmaLoggingStart& start) {
  MutexLock lock(mu_);
  if (log_.has_value()) {
    return absl::InvalidArgumentError("DMA_LOGGING_START: logging is on already");
  }
  log_.emplace(start);
  ++readings_;
  on_.store(true, std::memory_order_relaxed);
  return absl::OkStatus();
}

void DmaWriteLog::Stop() {
  MutexLock lock(mu_);
  on_.store(false, std::memory_order_relaxed);
  ++readings_;
  log_.reset();
}

absl::Status DmaWriteLog::Report(DmaLoggingReport& report) {
  report.bitmap.assign(report.BitmapBytes(), 0);
  const std::optional<Iova> last = LastByte(report.address, report.length);
  MutexLock lock(mu_);
  if (!log_.has_value()) return absl::InvalidArgumentError("writes are not being logged");
  ++readings_;
  if (last) log_->Take(report.address, *last, report.page_size, report.bitmap);
  return absl::OkStatus();
}

uint64_t DmaWriteLog::Mark(std::span<const DmaWritePiece> pieces, uint64_t marked_at) {
  MutexLock lock(mu_);
  if (!log_.has_value()) return 0;
  if (marked_at == readings_) return marked_at;
  for (const DmaWritePiece& piece : pieces) {
    if (const auto last = LastByte(piece.to, piece.from.size())) log_->Mark(piece.to, *last);
  }
  return readings_;
}

}  // namespace vfio_user
