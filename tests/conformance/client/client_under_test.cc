#include "tests/conformance/client/client_under_test.h"

namespace vfio_user {

std::string_view AbilityName(ClientAbility ability) {
  switch (ability) {
    case ClientAbility::kInfo:
      return "asking for the device's description";
    case ClientAbility::kReset:
      return "resetting the device";
    case ClientAbility::kMapMemory:
      return "lending memory by message";
    case ClientAbility::kReadOnlyMemory:
      return "lending memory that may only be read";
    case ClientAbility::kInterrupts:
      return "binding interrupts";
    case ClientAbility::kFeatures:
      return "asking for features";
    case ClientAbility::kDirtyLog:
      return "a log of what the device writes";
    case ClientAbility::kUnmapReports:
      return "unmapping with a report of what the device wrote";
    case ClientAbility::kMigration:
      return "saving and loading the device's state";
    case ClientAbility::kTwinSocket:
      return "a twin socket";
    case ClientAbility::kParallelRequests:
      return "several requests under way at once";
    case ClientAbility::kMappedRegions:
      return "mapping regions";
    case ClientAbility::kDoorbells:
      return "ringing doorbells";
    case ClientAbility::kPostedWrites:
      return "writes without a reply";
    case ClientAbility::kManyWrites:
      return "several writes at once";
    case ClientAbility::kCountDescriptors:
      return "counting its descriptors";
  }
  return "something unknown";
}

}  // namespace vfio_user
