#include "tools/report_page/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace vfio_user {
namespace {

#ifdef __clang__
constexpr char kCompiler[] = __VERSION__;
#else
constexpr char kCompiler[] = "g++ " __VERSION__;
#endif

std::string Processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

std::string Kernel() {
  utsname name = {};
  return ::uname(&name) == 0 ? fmt::format("{} {}", name.sysname, name.release) : "";
}

}  // namespace

Machine DescribeMachine() {
  double load = 0;
  if (::getloadavg(&load, 1) != 1) load = 0;
  return {.processor = Processor(),
          .processors = ::sysconf(_SC_NPROCESSORS_ONLN),
          .kernel = Kernel(),
          .compiler = kCompiler,
          .load_before = load};
}

std::string MachineText(const Machine& machine) {
  return fmt::format("Measured on {} processors ({}), {}, built with {}; load before: {:.1f}.",
                     machine.processors, machine.processor.empty() ? "unknown" : machine.processor,
                     machine.kernel, machine.compiler, machine.load_before);
}

nlohmann::ordered_json MachineJson(const Machine& machine) {
  return {{"processor", machine.processor},
          {"processors", machine.processors},
          {"kernel", machine.kernel},
          {"compiler", machine.compiler},
          {"load_before", machine.load_before}};
}

}  // namespace vfio_user
