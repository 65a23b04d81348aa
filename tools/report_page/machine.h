// What figures were measured on.
#ifndef TOOLS_REPORT_PAGE_MACHINE_H_
#define TOOLS_REPORT_PAGE_MACHINE_H_

#include <string>

#include "nlohmann/json.hpp"

namespace vfio_user {

struct Machine {
  std::string processor;  // As it calls itself; empty where that is not known.
  long processors = 0;
  std::string kernel;
  std::string compiler;    // That built this program.
  double load_before = 0;  // Of the last minute: other work than the measurement's, if taken early.
};

Machine DescribeMachine();

// One sentence.
std::string MachineText(const Machine& machine);

nlohmann::ordered_json MachineJson(const Machine& machine);

}  // namespace vfio_user

#endif  // TOOLS_REPORT_PAGE_MACHINE_H_
