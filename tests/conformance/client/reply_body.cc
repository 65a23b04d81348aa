#include "tests/conformance/client/reply_body.h"

#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

void Append(std::vector<uint8_t>& out, const void* value, size_t bytes) {
  const auto* const first = static_cast<const uint8_t*>(value);
  out.insert(out.end(), first, first + bytes);
}

// To a client that asks with an argsz that the whole reply does not fit in: the fixed part, which
// says what to ask with.
absl::Status ReplyByArgsz(Exchange& exchange, std::vector<uint8_t> body) {
  const absl::StatusOr<RegionInfoRequest> asked = RegionInfoRequest::Parse(exchange.request().body);
  if (asked.ok() && body.size() > asked->argsz && body.size() > RegionInfo::kBytes) {
    const auto full = static_cast<uint32_t>(body.size());
    const auto plain_flags = static_cast<uint8_t>(body[4] & ~8U);
    body.resize(RegionInfo::kBytes);
    std::memcpy(body.data(), &full, sizeof(full));
    body[4] = plain_flags;
    std::memset(body.data() + 12, 0, sizeof(uint32_t));
  }
  return exchange.main().Reply(exchange.header(), body);
}

// What checks that the connection works asks about, and no reply of a check's is to.
bool IsOfBar0(const ScriptedPeer::Message& request) {
  if (request.header.command != Command::kDeviceGetRegionInfo) return false;
  const absl::StatusOr<RegionInfoRequest> asked = RegionInfoRequest::Parse(request.body);
  return asked.ok() && asked->index == RegionIndex::kBar0;
}

}  // namespace

Body& Body::U16(uint16_t value) {
  Append(bytes_, &value, sizeof(value));
  return *this;
}

Body& Body::U32(uint32_t value) {
  Append(bytes_, &value, sizeof(value));
  return *this;
}

Body& Body::U64(uint64_t value) {
  Append(bytes_, &value, sizeof(value));
  return *this;
}

Body& Body::Zeros(size_t count) {
  bytes_.resize(bytes_.size() + count);
  return *this;
}

ClientCheck CheckOf(const BodyReply& reply) {
  ClientCheck check;
  check.description = {.name = std::string(reply.name),
                       .requirement = reply.requirement,
                       .section = reply.section,
                       .expects = std::string(reply.expects)};
  check.run = [reply](Stage& stage) -> absl::Status {
    const auto script = [reply](Exchange& exchange) -> absl::Status {
      if (IsOfBar0(exchange.request())) return exchange.AnswerWell();
      VFIO_USER_ASSIGN_OR_RETURN(ModelDevice::Response good, exchange.GoodResponse());
      std::vector<uint8_t> body = reply.body(std::move(good.body));
      if (reply.command == Command::kDeviceGetRegionInfo) {
        return ReplyByArgsz(exchange, std::move(body));
      }
      return exchange.main().Reply(exchange.header(), body);
    };
    (void)stage.server().Next(reply.command, script);
    // Region descriptions may be asked for twice.
    if (reply.command == Command::kDeviceGetRegionInfo) {
      (void)stage.server().Next(reply.command, script);
    }
    VFIO_USER_RETURN_IF_ERROR(Want("the request", reply.call(stage), {reply.code}));
    if (reply.code != absl::StatusCode::kDataLoss) return stage.CheckWorks();
    return stage.CheckClosed({absl::StatusCode::kDataLoss});
  };
  return check;
}

}  // namespace vfio_user
