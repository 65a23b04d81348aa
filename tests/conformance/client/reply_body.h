// Bodies of replies, field by field, and checks in which they come once.
#ifndef TESTS_CONFORMANCE_CLIENT_REPLY_BODY_H_
#define TESTS_CONFORMANCE_CLIENT_REPLY_BODY_H_

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/wire/command.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {

// Bytes in host byte order: Body().U32(32).U64(0).
class Body {
 public:
  Body& U16(uint16_t value);
  Body& U32(uint32_t value);
  Body& U64(uint64_t value);
  Body& Zeros(size_t count);
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

struct BodyReply {
  std::string_view name;  // With its family.
  std::string_view section;
  std::string_view expects;
  Command command{};
  // The bytes in place of those of a good reply.
  std::function<std::vector<uint8_t>(std::vector<uint8_t> good)> body;
  // The request, and what comes out of it. After DataLoss the connection has to be closed, after
  // all else it has to work.
  std::function<absl::Status(Stage&)> call;
  absl::StatusCode code = absl::StatusCode::kDataLoss;
  Requirement requirement = Requirement::kRequired;
};

// A check whose client gets that reply, first as far as the request's argsz allows, where there is
// one in the body.
ClientCheck CheckOf(const BodyReply& reply);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_REPLY_BODY_H_
