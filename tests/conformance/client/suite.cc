#include "tests/conformance/client/suite.h"

#include <utility>

#include "tests/conformance/client/device_memory_checks.h"
#include "tests/conformance/client/dma_checks.h"
#include "tests/conformance/client/feature_checks.h"
#include "tests/conformance/client/info_checks.h"
#include "tests/conformance/client/order_checks.h"
#include "tests/conformance/client/reply_checks.h"
#include "tests/conformance/client/version_checks.h"

namespace vfio_user {

std::vector<ClientCheck> AllClientChecks() {
  std::vector<ClientCheck> all;
  for (auto* const family :
       {VersionChecks,  CapabilityChecks,  InfoChecks,       RegionCapabilityChecks,
        EchoChecks,     DmaChecks,         DmaFramingChecks, BrokenReplyChecks,
        OddReplyChecks, LateReplyChecks,   LostServerChecks, ParallelChecks,
        LifetimeChecks, ConnectionChecks,  InterruptChecks,  FeatureChecks,
        DirtyLogChecks, UnmapReportChecks, MigrationChecks,  MappedRegionChecks,
        DoorbellChecks, ManyWritesChecks}) {
    for (ClientCheck& check : family()) all.push_back(std::move(check));
  }
  return all;
}

}  // namespace vfio_user
