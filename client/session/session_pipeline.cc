// The requests of session.h that are not waited for one by one.
#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/reply_errors.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

// After how many posted writes the next one waits. They are in the socket's buffer until the server
// reads them, and about 270 fill it; then a slow device would look like a server that has stopped.
constexpr uint32_t kMaxPostedWrites = 128;

// What may be under way at a time, in requests and in bytes of data. As many as hide the way to the
// server and back. So little that neither of the two buffers of the socket fills up with it: a
// server that cannot send replies reads no requests, and one request that lies in a full buffer in
// part is more than libvfio-user can read.
constexpr size_t kMaxPipelined = 32;
constexpr size_t kMaxPipelinedBytes = 64 << 10;

// Writes in one REGION_WRITE_MULTI. QEMU's number, which a server that knows the message takes.
constexpr size_t kMaxMultiWrites = 200;

absl::Status CheckBytes(uint32_t most, size_t bytes) {
  if (bytes <= most) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("one access of {} bytes, want at most the {} of a message", bytes, most));
}

std::span<const FdView> FdsOf(const Session::DmaMapAsk& ask) {
  return ask.fd ? std::span<const FdView>(&*ask.fd, 1) : std::span<const FdView>();
}

RegionAccess AccessTo(RegionIndex region, uint64_t offset, size_t bytes) {
  return {.offset = offset, .region = region, .count = static_cast<uint32_t>(bytes)};
}

}  // namespace

absl::Status Session::PostRegionWrite(RegionIndex index, uint64_t offset,
                                      std::span<const std::byte> from) {
  if (!twin_) return WriteRegion(index, offset, from);
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  const auto body = AccessTo(index, offset, from.size()).ToBytes();
  const absl::Status posted =
      main_.Post(Command::kRegionWrite, {.body = body, .payload = {&from, 1}, .fds = {}},
                 Deadline::In(options_.reply_timeout));
  if (!posted.ok()) {
    const absl::Status broken = main_.status();
    if (!broken.ok()) Close(broken);
    return posted;
  }
  if (posted_since_fence_.fetch_add(1) + 1 < kMaxPostedWrites) return absl::OkStatus();
  return Fence();
}

absl::Status Session::Fence() {
  // Before it is sent: what is posted after that is not fenced by it.
  posted_since_fence_ = 0;
  // The cheapest request that changes nothing and that every server knows. All serve one request
  // after the other, so that a refusal, as libvfio-user has it while it is migrated, says it too.
  const std::vector<uint8_t> body = Serialize(DeviceInfoRequest{});
  PendingCall call;
  const absl::Status answer =
      Call(Command::kDeviceGetInfo, {.body = body, .payload = {}, .fds = {}}, call);
  const bool refused = !answer.ok() && ErrnoOf(answer) != 0 && status().ok();
  return refused ? absl::OkStatus() : answer;
}

absl::Status Session::ReadRegionMany(RegionIndex index, std::span<const RegionRead> reads) {
  std::vector<Access> accesses;
  for (const RegionRead& read : reads) {
    VFIO_USER_RETURN_IF_ERROR(CheckBytes(max_read_bytes(), read.into.size()));
    accesses.push_back(
        {Command::kRegionRead, AccessTo(index, read.offset, read.into.size()), read.into, {}});
  }
  return AccessMany(accesses);
}

absl::Status Session::WriteRegionMany(RegionIndex index, std::span<const RegionWrite> writes) {
  std::vector<Access> accesses;
  bool small = server_.capabilities.WriteMultiple() && writes.size() > 1;
  for (const RegionWrite& write : writes) {
    VFIO_USER_RETURN_IF_ERROR(CheckBytes(max_write_bytes(), write.from.size()));
    small = small && write.from.size() <= kWriteMultiDataBytes;
    accesses.push_back(
        {Command::kRegionWrite, AccessTo(index, write.offset, write.from.size()), {}, write.from});
  }
  return small ? WriteMulti(accesses) : AccessMany(accesses);
}

absl::Status Session::AccessMany(std::span<const Access> accesses) {
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  // One thread at a time has several under way; the others have one, as every call does.
  const bool many = twin_ && pipeline_turn_.Take(Deadline::In(absl::ZeroDuration()));
  const absl::Cleanup give_back = [this, many] {
    if (many) pipeline_turn_.GiveBack();
  };
  absl::Status result;
  if (!many) {
    for (size_t i = 0; i < accesses.size() && result.ok(); ++i) {
      const Access& access = accesses[i];
      const auto& [offset, region, count] = access.where;
      result = access.command == Command::kRegionRead ? ReadRegion(region, offset, access.into)
                                                      : WriteRegion(region, offset, access.from);
    }
    return result;
  }
  std::deque<SentAccess> sent;
  for (size_t i = 0; i < accesses.size() && result.ok(); ++i) {
    while (result.ok() && IsFull(sent, accesses[i])) result = FinishOldest(sent, result);
    if (result.ok()) result = Send(accesses[i], sent);
  }
  while (!sent.empty()) result.Update(FinishOldest(sent, result));
  const absl::Status broken = main_.status();
  if (!broken.ok()) Close(broken);
  return result;
}

bool Session::IsFull(const std::deque<SentAccess>& sent, const Access& next) {
  size_t bytes = next.where.count;
  for (const SentAccess& one : sent) bytes += one.access.where.count;
  return !sent.empty() && (sent.size() >= kMaxPipelined || bytes > kMaxPipelinedBytes);
}

absl::Status Session::Send(const Access& access, std::deque<SentAccess>& sent) {
  SentAccess& one = sent.emplace_back(access);
  const auto body = access.where.ToBytes();
  const absl::Status started =
      main_.Start(access.command, {.body = body, .payload = {&access.from, 1}, .fds = {}}, one.call,
                  Deadline::In(options_.reply_timeout));
  if (!started.ok()) sent.pop_back();
  return started;
}

absl::Status Session::FinishOldest(std::deque<SentAccess>& sent, const absl::Status& before) {
  // It stays where it is until its reply is there, or given up; after one that did not come in time
  // not one of them is waited for.
  SentAccess& one = sent.front();
  const absl::Cleanup pop = [&sent] { sent.pop_front(); };
  VFIO_USER_RETURN_IF_ERROR(main_.Wait(
      one.call, Deadline::In(absl::IsDeadlineExceeded(before) ? absl::ZeroDuration()
                                                              : options_.reply_timeout)));
  if (one.access.command == Command::kRegionRead) return CheckReadReply(one.call, one.access.where);
  return CheckEcho("REGION_WRITE reply", one.call.body(), one.access.where);
}

std::vector<absl::Status> Session::MapDmaMany(std::span<const DmaMapAsk> asks) {
  std::vector<absl::Status> results;
  const bool many =
      CheckProcess().ok() && twin_ && pipeline_turn_.Take(Deadline::In(absl::ZeroDuration()));
  if (!many) {
    for (const DmaMapAsk& ask : asks) {
      results.push_back(MapDma(ask.request, FdsOf(ask)));
      if (!results.back().ok()) break;
    }
    return results;
  }
  const absl::Cleanup give_back = [this] { pipeline_turn_.GiveBack(); };
  results.reserve(asks.size());
  std::deque<PendingCall> sent;
  absl::Status not_sent;
  bool refused = false;
  for (const DmaMapAsk& ask : asks) {
    // In halves, so that neither side waits for the other between two of them.
    const bool full = sent.size() == kMaxPipelined;
    while (full && sent.size() > kMaxPipelined / 2) {
      results.push_back(FinishMapDma(sent));
      refused = refused || !results.back().ok();
    }
    if (refused) break;
    not_sent = StartMapDma(ask, sent);
    if (!not_sent.ok()) break;
  }
  while (!sent.empty()) results.push_back(FinishMapDma(sent));
  if (!not_sent.ok()) results.push_back(not_sent);
  const absl::Status broken = main_.status();
  if (!broken.ok()) Close(broken);
  return results;
}

absl::Status Session::StartMapDma(const DmaMapAsk& ask, std::deque<PendingCall>& sent) {
  const std::vector<uint8_t> body = Serialize(ask.request);
  const absl::Status started =
      main_.Start(Command::kDmaMap, {.body = body, .payload = {}, .fds = FdsOf(ask)},
                  sent.emplace_back(), Deadline::In(options_.reply_timeout));
  if (!started.ok()) sent.pop_back();
  return started;
}

absl::Status Session::FinishMapDma(std::deque<PendingCall>& sent) {
  const absl::Cleanup pop = [&sent] { sent.pop_front(); };
  const absl::Status result = main_.Wait(sent.front(), Deadline::In(options_.reply_timeout));
  if (absl::IsDeadlineExceeded(result)) return CloseUndecided(Command::kDmaMap, result);
  return result;
}

absl::Status Session::WriteMulti(std::span<const Access> writes) {
  while (!writes.empty()) {
    const std::span<const Access> some = writes.first(std::min(writes.size(), kMaxMultiWrites));
    VFIO_USER_ASSIGN_OR_RETURN(const size_t done, AskWriteMulti(some));
    writes = writes.subspan(done);
    if (done == some.size()) continue;
    // The reply does not say what was wrong with the first that was not carried out; this does.
    const Access& stopped_at = writes.front();
    VFIO_USER_RETURN_IF_ERROR(
        WriteRegion(stopped_at.where.region, stopped_at.where.offset, stopped_at.from));
    writes = writes.subspan(1);
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> Session::AskWriteMulti(std::span<const Access> writes) {
  WriteMultiRequest request;
  for (const Access& write : writes) {
    WriteMultiEntry& entry = request.entries.emplace_back(WriteMultiEntry{.access = write.where});
    std::memcpy(entry.data.data(), write.from.data(), write.from.size());
  }
  const std::vector<uint8_t> body = Serialize(request);
  PendingCall call;
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kRegionWriteMulti, {.body = body, .payload = {}, .fds = {}}, call));
  const absl::StatusOr<WriteMultiReply> reply = WriteMultiReply::Parse(call.body());
  if (!reply.ok()) return CloseBroken(reply.status());
  if (reply->done > writes.size()) {
    return CloseBroken(
        AboveLimit("REGION_WRITE_MULTI reply", "wr_cnt", reply->done, writes.size()));
  }
  return static_cast<size_t>(reply->done);
}

}  // namespace vfio_user
