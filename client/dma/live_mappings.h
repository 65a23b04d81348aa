// The mappings that a client has, so that one call can end them all.
#ifndef CLIENT_DMA_LIVE_MAPPINGS_H_
#define CLIENT_DMA_LIVE_MAPPINGS_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "client/client_options.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

struct LiveMapping {
  IovaRange range;
  DmaPath path = DmaPath::kAuto;
};

// Says who unmaps what, so that each mapping is unmapped once, and by one thread: by its handle, or
// with all others. Whoever comes second waits for the first to be done: a request for all that
// overtook one for a single mapping would unmap that too, and what was written there would be told
// to neither.
//
// Knows no connection, and holds no lock while its callers wait for the server. Thread-safe.
class LiveMappings {
 public:
  using Id = uint64_t;  // Of a mapping; never used twice.
  using Entry = std::pair<Id, LiveMapping>;

  // Around the request for a new mapping. BeginMap waits while all are being unmapped: a mapping
  // that the server makes then may or may not be among those that it unmaps.
  void BeginMap() ABSL_LOCKS_EXCLUDED(mu_);
  void EndMap() ABSL_LOCKS_EXCLUDED(mu_);

  // Between the two.
  Id Add(const LiveMapping& mapping) ABSL_LOCKS_EXCLUDED(mu_);

  // The caller is to unmap it, and then to Remove it. nullopt when another thread did, and is done.
  // Waits while all are being unmapped.
  std::optional<LiveMapping> Claim(Id id) ABSL_LOCKS_EXCLUDED(mu_);
  // The same for all, once none is being made and none that was claimed is left; until EndClaimAll
  // none will be made or claimed.
  std::vector<Entry> BeginClaimAll() ABSL_LOCKS_EXCLUDED(mu_);
  void EndClaimAll() ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(Id id) ABSL_LOCKS_EXCLUDED(mu_);

  // Those that have bytes in `range`, claimed or not, the oldest first.
  std::vector<LiveMapping> Overlapping(const IovaRange& range) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Slot {
    LiveMapping mapping;
    bool claimed = false;
  };

  mutable Mutex mu_;
  CondVar changed_;
  absl::btree_map<Id, Slot> slots_ ABSL_GUARDED_BY(mu_);
  Id next_id_ ABSL_GUARDED_BY(mu_) = 0;
  int being_made_ ABSL_GUARDED_BY(mu_) = 0;
  int claimed_ ABSL_GUARDED_BY(mu_) = 0;  // How many slots are.
  bool claiming_all_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace vfio_user

#endif  // CLIENT_DMA_LIVE_MAPPINGS_H_
