#include "tests/conformance/check.h"

namespace vfio_user {

std::string_view RequirementName(Requirement requirement) {
  switch (requirement) {
    case Requirement::kRequired:
      return "required";
    case Requirement::kRecommended:
      return "recommended";
    case Requirement::kPeerQuirk:
      return "peer quirk";
  }
  return "unknown";
}

}  // namespace vfio_user
