// Many mappings with few waits: DmaMapper::MapMany.
#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/dma_mapper.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// About as many as are under way at a time.
constexpr size_t kLeastBatch = 64;

}  // namespace

absl::StatusOr<std::vector<DmaMapping>> DmaMapper::MapMany(
    std::span<const std::span<std::byte>> buffers, const MapOptions& options) {
  if (std::holds_alternative<Iova>(options.iova) && buffers.size() > 1) {
    return absl::InvalidArgumentError(fmt::format(
        "one bus address for {} buffers, want IdentityIova or IovaWindow", buffers.size()));
  }
  VFIO_USER_RETURN_IF_ERROR(session_->status());
  VFIO_USER_RETURN_IF_ERROR(CheckRoom(buffers.size()));
  // Where not all were made, those that were are unmapped with this, and not before EndMap, which
  // whoever unmaps all others waits for.
  std::vector<DmaMapping> mappings;
  live_.BeginMap();
  const absl::Cleanup end_map = [this] { live_.EndMap(); };
  std::vector<Placed> placed;
  placed.reserve(buffers.size());
  absl::Status result = Place(buffers, options.iova, placed);
  if (result.ok()) result = MapPlaced(placed, options.path);
  mappings.reserve(placed.size());
  for (const Placed& one : placed) {
    if (!one.path) {
      session_->dma_table().Erase(one.iova);
      continue;
    }
    const LiveMapping mapping = {.range = {one.iova, one.memory.size}, .path = *one.path};
    mappings.push_back(DmaMapping(shared_from_this(), live_.Add(mapping), mapping));
  }
  if (!result.ok()) return result;
  return mappings;
}

absl::Status DmaMapper::Place(std::span<const std::span<std::byte>> buffers,
                              const IovaChoice& choice, std::vector<Placed>& placed) {
  constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;
  for (const std::span<std::byte>& buffer : buffers) {
    const DmaMemory memory = {buffer.data(), buffer.size(), kReadWrite};
    VFIO_USER_ASSIGN_OR_RETURN(const Iova iova, Insert(memory, choice));
    placed.push_back({.iova = iova, .memory = memory, .path = std::nullopt});
  }
  return absl::OkStatus();
}

absl::Status DmaMapper::MapPlaced(std::span<Placed> placed, DmaPath path) {
  size_t batch = kLeastBatch;
  for (size_t i = 0; i < placed.size(); ++i) {
    Placed& one = placed[i];
    if (one.path) continue;
    // One by itself finds the path that the server takes, also anew after a refusal.
    VFIO_USER_ASSIGN_OR_RETURN(const Ladder ladder, LadderFor({.memory = one.memory}, path));
    VFIO_USER_ASSIGN_OR_RETURN(one.path, Climb(ladder, one.iova, one.memory));
    const std::span<Placed> behind = placed.subspan(i + 1);
    const std::span<Placed> alike = behind.first(std::min(batch, behind.size()));
    VFIO_USER_RETURN_IF_ERROR(MapAlike(*one.path, alike));
    // Requests are made out for a batch and end with the first that is refused: if that were for
    // all the rest, a server that refuses often would cost time in proportion to their square.
    const bool all = std::ranges::all_of(alike, [](const Placed& p) { return p.path.has_value(); });
    batch = all ? 2 * batch : kLeastBatch;
  }
  return absl::OkStatus();
}

absl::Status DmaMapper::MapAlike(DmaPath path, std::span<Placed> placed) {
  std::vector<Placed*> asked;
  std::vector<Session::DmaMapAsk> asks;
  for (Placed& one : placed) {
    if (one.path) continue;
    VFIO_USER_ASSIGN_OR_RETURN(const Ladder ladder, LadderFor({.memory = one.memory}, path));
    const Rung& rung = ladder.front();
    Session::DmaMapAsk& ask = asks.emplace_back();
    ask.request = RequestFor(rung, one.iova, one.memory);
    if (path != DmaPath::kMessage) ask.fd = rung.fd;
    asked.push_back(&one);
  }
  const std::vector<absl::Status> results = session_->MapDmaMany(asks);
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].ok()) asked[i]->path = path;
  }
  return session_->status();
}

}  // namespace vfio_user
