#include "client/dma_log.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "client/dma/live_mappings.h"
#include "client/dma/write_record.h"
#include "client/dma_mapper.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

absl::StatusOr<DmaLoggingStart> StartRequest(const DmaLogOptions& options) {
  if (!std::has_single_bit(options.page_size)) {
    return absl::InvalidArgumentError(
        fmt::format("page size is {:#x}, want a power of two", options.page_size));
  }
  DmaLoggingStart start = {.page_size = options.page_size};
  for (const IovaRange& range : options.ranges) {
    if (!LastByte(range)) {
      return absl::InvalidArgumentError(fmt::format(
          "range [{:#x}, +{:#x}) is empty or passes 2^64 - 1", ToU64(range.first), range.length));
    }
    start.ranges.push_back({range.first, range.length});
  }
  // 2^64 has no number; the last page is no loss.
  if (start.ranges.empty())
    start.ranges.push_back({Iova{0}, UINT64_MAX & ~(options.page_size - 1)});
  return start;
}

// The page size that the device chose; `asked` where the server did not say.
absl::StatusOr<uint64_t> ChosenPageSize(const std::vector<uint8_t>& reply, uint64_t asked) {
  if (reply.empty()) return asked;
  VFIO_USER_ASSIGN_OR_RETURN(const DmaLoggingStart chosen, DmaLoggingStart::Parse(reply));
  return chosen.page_size;
}

// In bytes, of the part of a bitmap that fits a message of `max_bytes` with its fixed part.
uint64_t BitmapBytesPerReport(uint32_t max_bytes) {
  constexpr uint32_t kFixedBytes = DeviceFeature::kBytes + DmaLoggingReport::kBytes;
  const uint64_t room = max_bytes > kFixedBytes ? max_bytes - kFixedBytes : 0;
  return std::max<uint64_t>(room / sizeof(uint64_t), 1) * sizeof(uint64_t);
}

absl::Status CheckEcho(const DmaLoggingReport& got, const DmaLoggingReport& want) {
  if (got.address != want.address || got.length != want.length || got.page_size != want.page_size) {
    return absl::InvalidArgumentError(fmt::format(
        "DMA_LOGGING_REPORT reply: of [{:#x}, +{:#x}) in pages of {:#x} bytes, want [{:#x}, "
        "+{:#x}) and {:#x} as in the request",
        ToU64(got.address), got.length, got.page_size, ToU64(want.address), want.length,
        want.page_size));
  }
  if (got.bitmap.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("DMA_LOGGING_REPORT reply: no bitmap, want {} bytes", got.BitmapBytes()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DmaLog> DmaLog::Start(std::shared_ptr<DmaMapper> mapper,
                                     const DmaLogOptions& options) {
  Session& session = *mapper->session();
  VFIO_USER_RETURN_IF_ERROR(session.status());
  VFIO_USER_ASSIGN_OR_RETURN(const DmaLoggingStart request, StartRequest(options));
  // Before the server's, so that no write is missed by both.
  WriteRecord& record = session.write_record();
  VFIO_USER_RETURN_IF_ERROR(record.Start(options.page_size));
  const DeviceFeatures features(mapper->session());
  const absl::StatusOr<uint64_t> page_size = StartAtServer(session, features, request);
  if (!page_size.ok()) {
    record.Stop();
    return page_size.status();
  }
  record.SetPageSize(*page_size);
  return DmaLog(std::move(mapper), features, *page_size);
}

absl::StatusOr<uint64_t> DmaLog::StartAtServer(Session& session, const DeviceFeatures& features,
                                               const DmaLoggingStart& request) {
  const absl::StatusOr<std::vector<uint8_t>> reply =
      features.Set(Feature::kDmaLoggingStart, Serialize(request));
  if (!reply.ok()) {
    return features.Explain(reply.status(),
                            {.feature = Feature::kDmaLoggingStart, .ops = FeatureOp::kSet},
                            "the device does not log what it writes");
  }
  const absl::StatusOr<uint64_t> page_size = ChosenPageSize(*reply, request.page_size);
  if (!page_size.ok()) return session.CloseBroken(page_size.status());
  return page_size;
}

DmaLog& DmaLog::operator=(DmaLog&& other) noexcept {
  if (this == &other) return *this;
  (void)Stop();
  mapper_ = std::move(other.mapper_);
  features_ = std::move(other.features_);
  page_size_ = other.page_size_;
  return *this;
}

// Nobody is left to be told of an error.
DmaLog::~DmaLog() { (void)Stop(); }

absl::Status DmaLog::Stop() {
  const std::shared_ptr<DmaMapper> mapper = std::move(mapper_);
  if (mapper == nullptr) return absl::OkStatus();
  VFIO_USER_RETURN_IF_ERROR(mapper->session()->CheckProcess());
  const absl::Status stopped = features_.Set(Feature::kDmaLoggingStop, {}).status();
  mapper->session()->write_record().Stop();
  return stopped;
}

absl::StatusOr<DirtyPages> DmaLog::Report(const IovaRange& range, uint64_t page_size) const {
  if (mapper_ == nullptr) return absl::FailedPreconditionError("this log was stopped");
  VFIO_USER_RETURN_IF_ERROR(mapper_->session()->status());
  VFIO_USER_ASSIGN_OR_RETURN(DirtyPages pages, DirtyPages::Create(range, page_size));
  WriteRecord& own = mapper_->session()->write_record();
  const absl::Status pulled = Pull(range, pages);
  if (!pulled.ok()) {
    // The server has forgotten what it told.
    own.Keep(pages);
    return pulled;
  }
  own.TakeInto(pages);
  return pages;
}

absl::Status DmaLog::Pull(const IovaRange& range, DirtyPages& pages) const {
  constexpr uint64_t kPagesPerByte = 8;
  const uint64_t most_pages =
      BitmapBytesPerReport(mapper_->session()->max_data_xfer_bytes()) * kPagesPerByte;
  uint64_t first = ToU64(range.first);
  uint64_t left = range.length;
  while (left > 0) {
    const bool fits = (left - 1) / page_size_ < most_pages;
    const uint64_t length = fits ? left : most_pages * page_size_;
    const absl::StatusOr<DirtyPages> reported = AskServer({Iova{first}, length});
    if (!reported.ok()) {
      VFIO_USER_RETURN_IF_ERROR(mapper_->session()->status());
      if (absl::IsDeadlineExceeded(reported.status())) return reported.status();
      // Whatever the errno: libvfio-user has several for a range that is not one of its own.
      return PullByMapping({Iova{first}, left});
    }
    pages.Mark(*reported);
    first += length;
    left -= length;
  }
  return absl::OkStatus();
}

absl::Status DmaLog::PullByMapping(const IovaRange& range) const {
  const Iova last = *LastByte(range);
  for (const LiveMapping& mapping : mapper_->live().Overlapping(range)) {
    // The client wrote it all itself.
    if (mapping.path == DmaPath::kMessage) continue;
    // From its beginning, which libvfio-user insists on.
    const uint64_t first = ToU64(mapping.range.first);
    const uint64_t end = std::min(ToU64(last), ToU64(*LastByte(mapping.range)));
    const absl::StatusOr<DirtyPages> reported = AskServer({mapping.range.first, end - first + 1});
    // Unmapped meanwhile, or not yet mapped.
    if (!reported.ok() && ErrnoOf(reported.status()) == ENOENT) continue;
    VFIO_USER_RETURN_IF_ERROR(reported.status());
    // Also what nobody asked for: the server has forgotten it.
    mapper_->session()->write_record().Keep(*reported);
  }
  return absl::OkStatus();
}

absl::StatusOr<DirtyPages> DmaLog::AskServer(const IovaRange& range) const {
  VFIO_USER_ASSIGN_OR_RETURN(DirtyPages pages, DirtyPages::Create(range, page_size_));
  // In the device's own page size: libvfio-user loses pages when it is to convert them, and hangs.
  const DmaLoggingReport request = {
      .address = range.first, .length = range.length, .page_size = page_size_};
  const uint64_t most_bytes = BitmapBytesPerReport(mapper_->session()->max_data_xfer_bytes());
  if (request.BitmapBytes() > most_bytes) {
    return absl::ResourceExhaustedError(fmt::format(
        "the report of [{:#x}, +{:#x}) is {} bytes, and a message takes {}: log in larger pages",
        ToU64(range.first), range.length, request.BitmapBytes(), most_bytes));
  }
  const uint64_t bytes = DmaLoggingReport::kBytes + request.BitmapBytes();
  const absl::StatusOr<std::vector<uint8_t>> data =
      features_.Get(Feature::kDmaLoggingReport, Serialize(request), static_cast<uint32_t>(bytes));
  VFIO_USER_RETURN_IF_ERROR(data.status());
  const absl::StatusOr<DmaLoggingReport> report = DmaLoggingReport::Parse(*data);
  if (!report.ok()) return mapper_->session()->CloseBroken(report.status());
  const absl::Status checked = CheckEcho(*report, request);
  if (!checked.ok()) return mapper_->session()->CloseBroken(checked);
  pages.MarkBitmap(report->bitmap);
  return pages;
}

}  // namespace vfio_user
