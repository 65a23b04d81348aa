// A state that comes in other pieces than it was asked for.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/migration_data.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/feature_checks.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/reply_body.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

using absl::StatusCode;
using Bytes = std::vector<uint8_t>;

// The first reply; those after it are the model's, which begins with its state then.
struct PieceCase {
  std::string_view name;
  std::string_view expects;
  Requirement requirement = Requirement::kRequired;
  std::function<Bytes(uint32_t asked)> body;
  StatusCode code = StatusCode::kDataLoss;
  uint64_t saved = 0;  // In bytes, after OK.
};

Body Piece(uint32_t argsz, uint32_t size, size_t data_bytes) {
  return Body().U32(argsz).U32(size).Zeros(data_bytes);
}

std::vector<PieceCase> GoodPieces() {
  constexpr uint32_t kAll = ModelDevice::kStateBytes;
  return {
      {"short-piece", "Less than was asked for is not the end, but nothing is (libvfio-user).",
       Requirement::kPeerQuirk, [](uint32_t) { return Piece(13, 5, 5).bytes(); }, StatusCode::kOk,
       5 + kAll},
      {"argsz-4-gib", "The size says how much there is.", Requirement::kRequired,
       [](uint32_t) { return Piece(UINT32_MAX, 5, 5).bytes(); }, StatusCode::kOk, 5 + kAll},
      {"argsz-0", "The size says how much there is.", Requirement::kRecommended,
       [](uint32_t) { return Piece(0, 5, 5).bytes(); }, StatusCode::kOk, 5 + kAll},
      {"as-long-as-asked-whatever-its-size",
       "What comes after the piece is no part of it (libvfio-user).", Requirement::kPeerQuirk,
       [](uint32_t asked) { return Piece(13, 5, asked).bytes(); }, StatusCode::kOk, 5 + kAll},
      {"empty-piece-as-long-as-asked", "A piece of 0 bytes is the end (libvfio-user).",
       Requirement::kPeerQuirk, [](uint32_t asked) { return Piece(8, 0, asked).bytes(); },
       StatusCode::kOk, 0},
      {"nothing-to-save", "A device may have no state.", Requirement::kRequired,
       [](uint32_t) { return Piece(8, 0, 0).bytes(); }, StatusCode::kOk, 0},
  };
}

std::vector<PieceCase> BadPieces() {
  constexpr std::string_view kHolds = "A piece that is not all there is refused.";
  constexpr std::string_view kAsked = "No more comes than was asked for.";
  return {
      {"without-its-size", kHolds, Requirement::kRequired,
       [](uint32_t) { return Body().U32(8).bytes(); }},
      {"one-byte-less-than-its-size", kHolds, Requirement::kRequired,
       [](uint32_t) { return Piece(14, 6, 5).bytes(); }},
      {"size-without-data", kHolds, Requirement::kRequired,
       [](uint32_t asked) { return Piece(8 + asked, asked, 0).bytes(); }},
      {"size-of-4-gib", "Nothing is allocated for what is not there.", Requirement::kRequired,
       [](uint32_t) { return Piece(13, UINT32_MAX, 5).bytes(); }},
      {"one-byte-more-than-asked", kAsked, Requirement::kRequired,
       [](uint32_t asked) { return Piece(9 + asked, asked + 1, size_t{asked} + 1).bytes(); }},
  };
}

absl::Status RunPiece(Stage& stage, const PieceCase& piece) {
  (void)stage.server().Next(Command::kMigDataRead, [piece](Exchange& exchange) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(const MigDataReadRequest asked,
                               MigDataReadRequest::Parse(exchange.request().body));
    return exchange.main().Reply(exchange.header(), piece.body(asked.size));
  });
  const absl::StatusOr<Bytes> saved = stage.client().SaveState();
  VFIO_USER_RETURN_IF_ERROR(Want("the save", saved.status(), {piece.code}));
  if (!saved.ok()) return stage.CheckClosed({piece.code});
  if (saved->size() != piece.saved) {
    return Wrong(fmt::format("the state has {} bytes, want {}", saved->size(), piece.saved));
  }
  return stage.CheckWorks();
}

}  // namespace

std::vector<ClientCheck> MigrationChecks() {
  std::vector<ClientCheck> checks;
  for (const auto& list : {GoodPieces(), BadPieces()}) {
    for (const PieceCase& piece : list) {
      ClientCheck& check = checks.emplace_back();
      check.description = {.name = fmt::format("mig-data-read/{}", piece.name),
                           .requirement = piece.requirement,
                           .section = "VFIO_USER_MIG_DATA_READ",
                           .expects = std::string(piece.expects)};
      check.needs = {ClientAbility::kMigration};
      check.run = [piece](Stage& stage) { return RunPiece(stage, piece); };
    }
  }
  return checks;
}

}  // namespace vfio_user
