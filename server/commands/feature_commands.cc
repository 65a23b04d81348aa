#include "server/commands/feature_commands.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/dma/dma_write_log.h"
#include "server/event_log.h"
#include "server/migration/migration.h"

namespace vfio_user {
namespace {

// A feature's operation does what it is for, and answers, now or later.
using FeatureHandler = absl::Status (*)(ClientContext& client, const MessageHeader& header,
                                        const DeviceFeature& request);

enum class Needs { kNothing, kMigratableDevice };

struct FeatureEntry {
  Feature feature{};
  FeatureOp op{};  // kGet or kSet.
  FeatureHandler handler = nullptr;
  Needs needs = Needs::kNothing;
};

absl::Status CheckReplyFits(const DeviceFeature& request, uint64_t data_bytes) {
  const uint64_t reply_bytes = DeviceFeature::kBytes + data_bytes;
  if (request.argsz >= reply_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("DEVICE_FEATURE {}: argsz is {}, the reply has {}",
                                                request.feature, request.argsz, reply_bytes));
}

void AnswerFeature(ClientContext& client, const MessageHeader& header, const DeviceFeature& reply) {
  client.body.clear();
  WireWriter out(client.body);
  reply.AppendTo(out);
  Answer(*client.channel, header, {.body = client.body, .payload = {}, .fds = {}});
}

// Answers kGet with `data`.
template <typename Data>
absl::Status AnswerWith(ClientContext& client, const MessageHeader& header,
                        const DeviceFeature& request, const Data& data) {
  DeviceFeature reply = request;
  reply.data = Serialize(data);
  VFIO_USER_RETURN_IF_ERROR(CheckReplyFits(request, reply.data.size()));
  reply.argsz = static_cast<uint32_t>(DeviceFeature::kBytes + reply.data.size());
  AnswerFeature(client, header, reply);
  return absl::OkStatus();
}

absl::Status StartLogging(ClientContext& client, const MessageHeader& header,
                          const DeviceFeature& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaLoggingStart start, DmaLoggingStart::Parse(request.data));
  VFIO_USER_RETURN_IF_ERROR(client.slot.client_memory().write_log().Start(start));
  AnswerFeature(client, header, request);
  return absl::OkStatus();
}

absl::Status StopLogging(ClientContext& client, const MessageHeader& header,
                         const DeviceFeature& request) {
  if (!request.data.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("DMA_LOGGING_STOP: {} bytes of data, want none", request.data.size()));
  }
  client.slot.client_memory().write_log().Stop();
  AnswerFeature(client, header, request);
  return absl::OkStatus();
}

absl::Status ReportLogging(ClientContext& client, const MessageHeader& header,
                           const DeviceFeature& request) {
  VFIO_USER_ASSIGN_OR_RETURN(DmaLoggingReport report, DmaLoggingReport::Parse(request.data));
  const uint64_t bitmap_bytes = report.BitmapBytes();
  if (bitmap_bytes > client.max_data_xfer_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("DMA_LOGGING_REPORT: the bitmap has {} bytes, negotiated are at most {}",
                    bitmap_bytes, client.max_data_xfer_bytes));
  }
  // Before what the report tells is forgotten.
  VFIO_USER_RETURN_IF_ERROR(CheckReplyFits(request, DmaLoggingReport::kBytes + bitmap_bytes));
  VFIO_USER_RETURN_IF_ERROR(
      Annotate(client.slot.client_memory().write_log().Report(report), "DMA_LOGGING_REPORT"));
  return AnswerWith(client, header, request, report);
}

absl::Status GetMigration(ClientContext& client, const MessageHeader& header,
                          const DeviceFeature& request) {
  return AnswerWith(client, header, request,
                    MigrationFeature{.flags = MigrationFlags(MigrationFlag::kStopCopy) |
                                              MigrationFlag::kPreCopy});
}

absl::Status GetMigrationState(ClientContext& client, const MessageHeader& header,
                               const DeviceFeature& request) {
  return AnswerWith(client, header, request,
                    MigDeviceState{.state = client.slot.migration().state()});
}

absl::Status SetMigrationState(ClientContext& client, const MessageHeader& header,
                               const DeviceFeature& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const MigDeviceState asked, MigDeviceState::Parse(request.data));
  // The channel outlives its connection in this share, and only says that it is broken then. The
  // log outlives the worker.
  return client.slot.migration().SetState(
      asked.state,
      [channel = client.channel, &log = client.log, header, request](const absl::Status& arrived) {
        if (arrived.ok()) {
          Answer(*channel, header, {.body = Serialize(request), .payload = {}, .fds = {}});
          return;
        }
        log.Write(fmt::format("refused MIG_DEVICE_STATE: {}", std::string(arrived.message())));
        (void)channel->ReplyError(header, ToWireErrno(arrived));
      });
}

absl::Status GetMigrationDataSize(ClientContext& client, const MessageHeader& header,
                                  const DeviceFeature& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const uint64_t left, client.slot.migration().BytesLeft());
  return AnswerWith(client, header, request, MigDataSize{.stop_copy_length = left});
}

constexpr std::array kFeatures = {
    FeatureEntry{Feature::kMigration, FeatureOp::kGet, GetMigration, Needs::kMigratableDevice},
    FeatureEntry{Feature::kMigDeviceState, FeatureOp::kGet, GetMigrationState,
                 Needs::kMigratableDevice},
    FeatureEntry{Feature::kMigDeviceState, FeatureOp::kSet, SetMigrationState,
                 Needs::kMigratableDevice},
    FeatureEntry{Feature::kMigDataSize, FeatureOp::kGet, GetMigrationDataSize,
                 Needs::kMigratableDevice},
    FeatureEntry{Feature::kDmaLoggingStart, FeatureOp::kSet, StartLogging},
    FeatureEntry{Feature::kDmaLoggingStop, FeatureOp::kSet, StopLogging},
    FeatureEntry{Feature::kDmaLoggingReport, FeatureOp::kGet, ReportLogging},
};

bool IsThere(ClientContext& client, const FeatureEntry& entry) {
  return entry.needs == Needs::kNothing || client.slot.migration().supported();
}

absl::Status Lacks(const DeviceFeature& request) {
  return absl::InvalidArgumentError(
      fmt::format("DEVICE_FEATURE: the device has no {} with {}", request.feature, request.ops));
}

// Whether all operations that `request` names are there; any, where it names none.
absl::Status Probe(ClientContext& client, const DeviceFeature& request) {
  FeatureOps there = FeatureOp::kProbe;
  for (const FeatureEntry& entry : kFeatures) {
    if (entry.feature == request.feature && IsThere(client, entry)) there |= entry.op;
  }
  const bool known = there != FeatureOps(FeatureOp::kProbe);
  return known && there.HasAll(request.ops) ? absl::OkStatus() : Lacks(request);
}

}  // namespace

absl::Status HandleDeviceFeature(ClientContext& client, IncomingCommand& command) {
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceFeature request, DeviceFeature::Parse(command.body));
  if (request.ops != FeatureOps(FeatureOp::kGet)) {
    // The reply is the request again.
    VFIO_USER_RETURN_IF_ERROR(CheckReplyFits(request, request.data.size()));
  }
  if (request.ops.Has(FeatureOp::kProbe)) {
    VFIO_USER_RETURN_IF_ERROR(Probe(client, request));
    AnswerFeature(client, command.header, request);
    return absl::OkStatus();
  }
  for (const FeatureEntry& entry : kFeatures) {
    if (entry.feature == request.feature && request.ops == FeatureOps(entry.op) &&
        IsThere(client, entry)) {
      return entry.handler(client, command.header, request);
    }
  }
  return Lacks(request);
}

}  // namespace vfio_user
