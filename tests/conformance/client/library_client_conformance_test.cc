// The suite on this tree's client library: a test for each check, so that a failure has its name.
#include <cctype>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
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

class LibraryClientConformanceTest : public testing::TestWithParam<ClientCheck> {};

TEST_P(LibraryClientConformanceTest, Conforms) {
  const ClientCheck& check = GetParam();

  const CheckOutcome outcome = RunClientCheck(check, LibraryAdapter());

  // This library lacks nothing: a check that is skipped would be one that nobody noticed.
  EXPECT_EQ(outcome.kind, CheckOutcome::Kind::kPassed)
      << check.description.name << " (" << RequirementName(check.description.requirement) << ", "
      << check.description.section << "): " << check.description.expects << "\n  " << outcome.words;
}

INSTANTIATE_TEST_SUITE_P(Client, LibraryClientConformanceTest, testing::ValuesIn(AllClientChecks()),
                         TestName);

}  // namespace
}  // namespace vfio_user
