// Linked into every program under --config=tsan, for the distribution's Abseil, which is not
// instrumented: ThreadSanitizer does not see there that a Status counts its references atomically,
// and takes the last thread to drop one for one that races with those that read it before. The
// definition here is instrumented, and takes the place of the library's.
#include <atomic>
#include <cstdint>

#include "absl/base/config.h"
#include "absl/status/status.h"

#if ABSL_LTS_RELEASE_VERSION == 20220623

namespace absl {
ABSL_NAMESPACE_BEGIN

void Status::UnrefNonInlined(uintptr_t rep) {
  status_internal::StatusRep* const shared = RepToPointer(rep);
  if (shared->ref.fetch_sub(1, std::memory_order_acq_rel) == 1) delete shared;
}

ABSL_NAMESPACE_END
}  // namespace absl

#endif
