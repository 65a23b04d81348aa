// The suite on this tree's client library: a test for each check, so that a failure has its name.
// Its two ways to serve the device, and spinning before it blocks, are as good as three clients.
#include <cctype>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/client_options.h"
#include "gtest/gtest.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/library_client.h"
#include "tests/conformance/client/suite.h"

namespace vfio_user {

// For gtest, which would print the bytes.
void PrintTo(const ClientCheck& check, std::ostream* os) { *os << check.description.name; }

namespace {

// "dma/read-beyond" is DmaReadBeyond: gtest takes no other characters than these.
std::string TestName(const testing::TestParamInfo<ClientCheck>& info) {
  std::string name;
  bool word_begins = true;
  for (const char c : info.param.description.name) {
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (letter) name += word_begins ? static_cast<char>(std::toupper(c)) : c;
    word_begins = !letter;
  }
  return name;
}

// Those that do not wait until a client loses its patience, which is the same wherever the device
// is served.
std::vector<ClientCheck> QuickClientChecks() {
  std::vector<ClientCheck> checks = AllClientChecks();
  std::erase_if(checks, [](const ClientCheck& check) {
    return check.stage.patience.reply != ClientPatience().reply ||
           check.stage.patience.connect != ClientPatience().connect ||
           check.description.name.find("server-stops") != std::string::npos;
  });
  return checks;
}

void ExpectPassed(const ClientCheck& check, const ClientOptions& options) {
  const CheckOutcome outcome = RunClientCheck(check, LibraryAdapter(options));

  // This library lacks nothing: a check that is skipped would be one that nobody noticed.
  EXPECT_EQ(outcome.kind, CheckOutcome::Kind::kPassed)
      << check.description.name << " (" << RequirementName(check.description.requirement) << ", "
      << check.description.section << "): " << check.description.expects << "\n  " << outcome.words;
}

class LibraryClientConformanceTest : public testing::TestWithParam<ClientCheck> {};

TEST_P(LibraryClientConformanceTest, Conforms) { ExpectPassed(GetParam(), {}); }

INSTANTIATE_TEST_SUITE_P(Client, LibraryClientConformanceTest, testing::ValuesIn(AllClientChecks()),
                         TestName);

class PolledClientConformanceTest : public testing::TestWithParam<ClientCheck> {};

TEST_P(PolledClientConformanceTest, Conforms) {
  ExpectPassed(GetParam(), {.dma_service = DmaService::kPoll});
}

INSTANTIATE_TEST_SUITE_P(Client, PolledClientConformanceTest,
                         testing::ValuesIn(QuickClientChecks()), TestName);

class SpinningClientConformanceTest : public testing::TestWithParam<ClientCheck> {};

TEST_P(SpinningClientConformanceTest, Conforms) {
  ExpectPassed(GetParam(), {.busy_poll = absl::Microseconds(200)});
}

INSTANTIATE_TEST_SUITE_P(Client, SpinningClientConformanceTest,
                         testing::ValuesIn(AllClientChecks()), TestName);

}  // namespace
}  // namespace vfio_user
