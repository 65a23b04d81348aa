// Matchers for absl::Status and absl::StatusOr, which the oldest Abseil that is built against
// does not have.
//
//   EXPECT_THAT(socket.Send(...), IsOk());
//   EXPECT_THAT(Parse(bytes), IsOkAndHolds(7));
//   EXPECT_THAT(Parse({}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 bytes")));
#ifndef TESTS_TESTING_STATUS_MATCHERS_H_
#define TESTS_TESTING_STATUS_MATCHERS_H_

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"

namespace vfio_user {
namespace status_matchers_internal {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }

template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

class IsOkMatcher {
 public:
  using is_gtest_matcher = void;

  template <typename StatusOrResult>
  bool MatchAndExplain(const StatusOrResult& actual, testing::MatchResultListener* listener) const {
    *listener << "which is " << StatusOf(actual);
    return actual.ok();
  }
  void DescribeTo(std::ostream* os) const { *os << "is OK"; }
  void DescribeNegationTo(std::ostream* os) const { *os << "is not OK"; }
};

class StatusIsMatcher {
 public:
  using is_gtest_matcher = void;

  StatusIsMatcher(absl::StatusCode code, testing::Matcher<const std::string&> message)
      : code_(code), message_(std::move(message)) {}

  template <typename StatusOrResult>
  bool MatchAndExplain(const StatusOrResult& actual, testing::MatchResultListener* listener) const {
    const absl::Status& status = StatusOf(actual);
    *listener << "which is " << status;
    return status.code() == code_ && message_.Matches(std::string(status.message()));
  }
  void DescribeTo(std::ostream* os) const {
    *os << "is " << code_ << " with a message that ";
    message_.DescribeTo(os);
  }
  void DescribeNegationTo(std::ostream* os) const {
    *os << "is not " << code_ << ", or its message ";
    message_.DescribeNegationTo(os);
  }

 private:
  absl::StatusCode code_;
  testing::Matcher<const std::string&> message_;
};

template <typename InnerMatcher>
class IsOkAndHoldsMatcher {
 public:
  using is_gtest_matcher = void;

  explicit IsOkAndHoldsMatcher(InnerMatcher inner) : inner_(std::move(inner)) {}

  template <typename T>
  bool MatchAndExplain(const absl::StatusOr<T>& actual,
                       testing::MatchResultListener* listener) const {
    if (!actual.ok()) {
      *listener << "which is " << actual.status();
      return false;
    }
    *listener << "which holds " << testing::PrintToString(*actual) << " ";
    return testing::SafeMatcherCast<const T&>(inner_).MatchAndExplain(*actual, listener);
  }
  void DescribeTo(std::ostream* os) const { *os << "is OK and holds what is wanted"; }
  void DescribeNegationTo(std::ostream* os) const {
    *os << "is not OK, or does not hold what is wanted";
  }

 private:
  InnerMatcher inner_;
};

}  // namespace status_matchers_internal

// Matches an OK Status or StatusOr.
inline status_matchers_internal::IsOkMatcher IsOk() { return {}; }

// Matches a StatusOr that is OK and whose value matches `inner`, a value or a matcher.
template <typename InnerMatcher>
status_matchers_internal::IsOkAndHoldsMatcher<std::decay_t<InnerMatcher>> IsOkAndHolds(
    InnerMatcher&& inner) {
  return status_matchers_internal::IsOkAndHoldsMatcher<std::decay_t<InnerMatcher>>(
      std::forward<InnerMatcher>(inner));
}

// Matches a Status or StatusOr of this code whose message matches `message`, a string or a matcher
// of strings; without one, any message does.
inline status_matchers_internal::StatusIsMatcher StatusIs(
    absl::StatusCode code, testing::Matcher<const std::string&> message = testing::_) {
  return {code, std::move(message)};
}

}  // namespace vfio_user

#endif  // TESTS_TESTING_STATUS_MATCHERS_H_
