// What both conformance suites say: of a check, and of the peer that it was tried on.
#ifndef TESTS_CONFORMANCE_CHECK_H_
#define TESTS_CONFORMANCE_CHECK_H_

#include <string>
#include <string_view>
#include <utility>

namespace vfio_user {

// How much it matters when a peer fails.
enum class Requirement {
  kRequired,     // The specification says so, or the peer puts its own process at risk.
  kRecommended,  // A peer may differ; those that do make trouble for somebody.
  kPeerQuirk,    // Not from the specification: implementations in the field depend on it.
};

// "required", "recommended", "peer quirk".
std::string_view RequirementName(Requirement requirement);

struct CheckDescription {
  std::string name;  // Lower case with hyphens, its family first: "dma/read-beyond-the-mapping".
  Requirement requirement = Requirement::kRequired;
  // Of the specification, "VFIO_USER_DMA_READ", or who else defines it.
  std::string_view section;
  std::string expects;  // A sentence: what a peer does that passes.
};

// What became of a check. Skipped is said in words, and never silently.
struct CheckOutcome {
  enum class Kind { kPassed, kFailed, kSkipped };

  static CheckOutcome Passed() { return {Kind::kPassed, {}}; }
  static CheckOutcome Failed(std::string why) { return {Kind::kFailed, std::move(why)}; }
  static CheckOutcome Skipped(std::string why) { return {Kind::kSkipped, std::move(why)}; }

  Kind kind = Kind::kPassed;
  std::string words;  // What was wrong, or what the peer lacks; empty when passed.
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CHECK_H_
