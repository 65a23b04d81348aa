#include "tools/vfio_user/state_file.h"

#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/output_file.h"
#include "tools/vfio_user/stop_signals.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(StateChecksumTest, IsTheOneOfZlib) {
  StateChecksum whole;
  whole.Add(Bytes("123456789"));
  StateChecksum pieces;
  pieces.Add(Bytes("1234"));
  pieces.Add(Bytes("56789"));

  EXPECT_EQ(whole.value(), 0xcbf43926u);
  EXPECT_EQ(pieces.value(), 0xcbf43926u);
}

class StateFileTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(stop_, IsOk()); }

  void Write(const std::string& state) {
    absl::StatusOr<OutputFile> output = OutputFile::Create(path_);
    ASSERT_THAT(output, IsOk());
    absl::StatusOr<StateFileWriter> file =
        StateFileWriter::Begin(*std::move(output), {.vendor_id = 0x1234, .device_id = 0xdc01});
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(file->Write(Bytes(state)), IsOk());
    ASSERT_THAT(file->Commit(), IsOk());
  }
  std::string Content() const {
    std::ifstream file(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  void Replace(const std::string& content) { std::ofstream(path_, std::ios::binary) << content; }
  absl::StatusOr<StateFileReader> Open() { return StateFileReader::Open(path_, *stop_); }

  TempDir directory_;
  const std::string path_ = directory_.File("state");
  const absl::StatusOr<StopSignals> stop_ = StopSignals::Block();
};

TEST_F(StateFileTest, GivesBackWhatWasWritten) {
  Write("some state");

  absl::StatusOr<StateFileReader> file = Open();
  ASSERT_THAT(file, IsOk());
  EXPECT_EQ(ToText(file->owner()), "1234:dc01");
  EXPECT_EQ(file->bytes(), 10u);
  std::array<std::byte, 7> piece = {};
  EXPECT_THAT(file->Read(piece), IsOkAndHolds(7u));
  EXPECT_EQ(piece[5], std::byte{'s'});
  EXPECT_THAT(file->Read(piece), IsOkAndHolds(3u));
  EXPECT_EQ(piece[2], std::byte{'e'});
  EXPECT_THAT(file->Read(piece), IsOkAndHolds(0u));
}

TEST_F(StateFileTest, IsLaidOutAsDescribed) {
  Write("123456789");

  using namespace std::string_literals;
  EXPECT_EQ(Content(),
            "vfio-user state\n"s
            "\x01\0\0\0"s
            "\x34\x12\x01\xdc"s
            "\0\0\0\0\0\0\0\0"s
            "123456789"s
            "\x09\0\0\0\0\0\0\0"s
            "\x26\x39\xf4\xcb"s
            "\0\0\0\0"s);
}

TEST_F(StateFileTest, RejectsEveryTruncationAndEveryChangedByteButTheOwners) {
  Write("some state");
  const std::string whole = Content();

  for (size_t length = 0; length < whole.size(); ++length) {
    Replace(whole.substr(0, length));
    EXPECT_EQ(ExitCodeOf(Open().status()), kExitUsage) << length;
  }
  for (size_t at = 0; at + 4 < whole.size(); ++at) {
    if (at >= 20 && at < 32) continue;
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x40);
    Replace(changed);
    EXPECT_EQ(ExitCodeOf(Open().status()), kExitUsage) << at;
  }
}

TEST_F(StateFileTest, SaysWhatIsWrong) {
  Replace("#!/bin/sh\n");
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not the state")));
  Write("some state");
  Replace(Content() + "x");
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cut short")));
  Write("some state");
  std::string later = Content();
  later[16] = 2;
  Replace(later);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("version 2")));
  EXPECT_THAT(StateFileReader::Open("/dev/null", *stop_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no regular file")));
}

TEST_F(StateFileTest, KeepsTheLastPieceOfAFileThatChangedSinceItWasOpened) {
  constexpr size_t kAnyOfTheDevices = 33;
  for (const bool shorter : {false, true}) {
    Write("some state");
    absl::StatusOr<StateFileReader> file = Open();
    ASSERT_THAT(file, IsOk());
    std::string changed = Content();
    changed[kAnyOfTheDevices] = 'x';
    Replace(shorter ? changed.substr(0, kAnyOfTheDevices) : changed);

    std::array<std::byte, 10> piece = {};
    EXPECT_THAT(file->Read(std::span(piece).first(1)), IsOkAndHolds(1u));
    EXPECT_THAT(file->Read(piece),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("changed while it was loaded")));
  }
}

TEST_F(StateFileTest, ReadsTheFileThatWasOpenedWhenAnotherGotItsName) {
  Write("some state");
  absl::StatusOr<StateFileReader> file = Open();
  ASSERT_THAT(file, IsOk());
  Write("more state");

  std::array<std::byte, 10> piece = {};
  EXPECT_THAT(file->Read(piece), IsOkAndHolds(10u));
  EXPECT_EQ(piece[0], std::byte{'s'});
}

TEST_F(StateFileTest, IsNotThereBeforeItIsComplete) {
  absl::StatusOr<OutputFile> output = OutputFile::Create(path_);
  ASSERT_THAT(output, IsOk());
  {
    absl::StatusOr<StateFileWriter> file = StateFileWriter::Begin(*std::move(output), {});
    ASSERT_THAT(file, IsOk());
  }

  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

}  // namespace
}  // namespace vfio_user
