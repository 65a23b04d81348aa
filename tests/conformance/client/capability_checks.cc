#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/version_checks.h"
#include "tests/conformance/client/version_reply.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

struct Text {
  std::string_view name;
  std::string data;  // Its NUL included, if it has one.
};

std::string WithNul(std::string_view text) { return std::string(text) + '\0'; }

// Texts that are not the object that they have to be.
std::vector<Text> Garbage() {
  return {
      {"json-without-nul", R"({"capabilities":{}})"},
      {"json-with-two-nuls", WithNul(WithNul(R"({"capabilities":{}})"))},
      {"json-with-nul-inside", WithNul(std::string("{\"capabilities\"\0:{}}", 20))},
      {"json-empty", WithNul("")},
      {"json-garbage", WithNul("vfio-user")},
      {"json-cut-off", WithNul(R"({"capabilities":{)")},
      {"json-with-something-after-it", WithNul(R"({"capabilities":{}} {})")},
      {"json-array", WithNul("[]")},
      {"json-null", WithNul("null")},
      {"json-number", WithNul("1")},
      {"json-deeply-nested", WithNul(std::string(4000, '['))},
      {"json-deep-objects", WithNul([] {
         std::string text;
         for (int i = 0; i < 600; ++i) text += R"({"a":)";
         return text;
       }())},
      {"json-not-utf-8", WithNul("{\"\xff\xfe\":1}")},
      {"capabilities-array", WithNul(R"({"capabilities":[]})")},
      {"capabilities-number", WithNul(R"({"capabilities":1})")},
  };
}

struct Pair {
  std::string_view name;
  std::string_view capabilities;  // What is between the braces.
};

std::vector<Pair> WrongCapabilities() {
  return {
      {"max-msg-fds-text", R"("max_msg_fds":"8")"},
      {"max-msg-fds-negative", R"("max_msg_fds":-1)"},
      {"max-msg-fds-fraction", R"("max_msg_fds":1.5)"},
      {"max-msg-fds-bool", R"("max_msg_fds":true)"},
      {"max-msg-fds-above-64-bits", R"("max_msg_fds":18446744073709551616)"},
      {"max-data-xfer-size-0", R"("max_data_xfer_size":0)"},
      {"max-data-xfer-size-text", R"("max_data_xfer_size":"1048576")"},
      {"max-data-xfer-size-negative", R"("max_data_xfer_size":-4096)"},
      {"max-data-xfer-size-null", R"("max_data_xfer_size":null)"},
      {"max-dma-maps-object", R"("max_dma_maps":{})"},
      {"pgsizes-array", R"("pgsizes":[4096])"},
      {"write-multiple-number", R"("write_multiple":1)"},
      {"twin-socket-bool", R"("twin_socket":true)"},
      {"twin-socket-supported-number", R"("twin_socket":{"supported":1})"},
      {"twin-socket-index-negative", R"("twin_socket":{"supported":true,"fd_index":-1})"},
      {"migration-bool", R"("migration":true)"},
      {"migration-pgsize-text", R"("migration":{"pgsize":"4096"})"},
  };
}

std::vector<Pair> FineCapabilities() {
  return {
      {"capabilities-empty", ""},
      {"capabilities-unknown", R"("x":1,"y":{"max_msg_fds":"no"},"z":[[[]]])"},
      {"max-msg-fds-0", R"("max_msg_fds":0)"},
      {"max-data-xfer-size-64-bits", R"("max_data_xfer_size":18446744073709551615)"},
      {"max-dma-maps-64-bits", R"("max_dma_maps":18446744073709551615)"},
      {"write-multiple", R"("write_multiple":true)"},
      {"migration-empty", R"("migration":{})"},
      {"twin-socket-empty", R"("twin_socket":{})"},
  };
}

VersionReply Fine(std::string_view name, std::vector<uint8_t> body) {
  return {name,
          "What is absent has its default, and what is unknown is ignored.",
          ReplyWith(std::move(body)),
          {StatusCode::kOk},
          Requirement::kRequired};
}

}  // namespace

std::vector<ClientCheck> CapabilityChecks() {
  std::vector<ClientCheck> checks;
  for (const Text& text : Garbage()) {
    checks.push_back(
        CheckOf(VersionReply{text.name,
                             "A text that is no object ends the connection, and nothing else.",
                             ReplyWith(VersionBody(text.data)),
                             {StatusCode::kDataLoss},
                             Requirement::kRecommended}));
  }
  for (const Pair& pair : WrongCapabilities()) {
    checks.push_back(
        CheckOf(VersionReply{pair.name,
                             "A capability of the wrong type or out of bounds ends the connection.",
                             ReplyWith(CapabilitiesBody(pair.capabilities)),
                             {StatusCode::kDataLoss},
                             Requirement::kRecommended}));
  }
  for (const Pair& pair : FineCapabilities()) {
    checks.push_back(CheckOf(Fine(pair.name, CapabilitiesBody(pair.capabilities))));
  }
  checks.push_back(CheckOf(Fine("no-json", VersionBody(""))));
  checks.push_back(CheckOf(Fine("json-empty-object", VersionBody(WithNul("{}")))));
  checks.push_back(
      CheckOf(Fine("json-with-blanks", VersionBody(WithNul("\n {\t\"capabilities\" : { } } ")))));
  return checks;
}

}  // namespace vfio_user
