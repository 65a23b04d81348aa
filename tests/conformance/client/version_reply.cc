#include "tests/conformance/client/version_reply.h"

#include <string>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"

namespace vfio_user {

std::vector<uint8_t> VersionBody(std::string_view data) {
  std::vector<uint8_t> body(4 + data.size());
  body[2] = 2;
  std::copy(data.begin(), data.end(), body.begin() + 4);
  return body;
}

std::vector<uint8_t> CapabilitiesBody(std::string_view capabilities) {
  const std::string text = fmt::format(R"({{"capabilities":{{{}}}}})", capabilities);
  return VersionBody({text.c_str(), text.size() + 1});
}

AnswerScript ReplyWith(std::vector<uint8_t> body) {
  return [body = std::move(body)](Exchange& exchange) {
    return exchange.main().Reply(exchange.header(), body);
  };
}

ClientCheck CheckOf(const VersionReply& reply) {
  ClientCheck check;
  check.description = {.name = fmt::format("version/{}", reply.name),
                       .requirement = reply.requirement,
                       .section = "VFIO_USER_VERSION",
                       .expects = std::string(reply.expects)};
  check.opening = ClientCheck::Opening::kNotConnected;
  check.run = [script = reply.script, codes = reply.codes](Stage& stage) -> absl::Status {
    (void)stage.server().Next(Command::kVersion, script);
    const absl::Status connected = stage.Connect();
    VFIO_USER_RETURN_IF_ERROR(Want("connecting", connected, codes));
    return connected.ok() ? stage.CheckWorks() : stage.server().WaitForClose();
  };
  return check;
}

}  // namespace vfio_user
