#include "client/dma/write_record.h"

#include <cstdint>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/dirty_pages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

IovaRange Range(uint64_t first, uint64_t length) { return {Iova{first}, length}; }

class WriteRecordTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(record_.Start(0x1000), IsOk()); }

  // In bytes, so that nothing is rounded.
  std::vector<IovaRange> Take(const IovaRange& range) {
    DirtyPages pages = *DirtyPages::Create(range, 1);
    record_.TakeInto(pages);
    std::vector<IovaRange> written;
    for (const IovaRange& part : pages) written.push_back(part);
    return written;
  }

  WriteRecord record_;
};

TEST_F(WriteRecordTest, RecordsWholePagesFromTheMappingsFirstByte) {
  record_.Record(Range(0x10005, 0x4000), Range(0x11004, 2));

  EXPECT_THAT(Take(Range(0x10000, 0x8000)), ElementsAre(Range(0x10005, 0x2000)));
}

TEST_F(WriteRecordTest, RecordsNoMoreThanTheMapping) {
  record_.Record(Range(0x10005, 0x1800), Range(0x11005, 1));
  record_.Record(Range(UINT64_MAX - 0x17ff, 0x1800), Range(UINT64_MAX, 1));

  EXPECT_THAT(Take(Range(0x10000, 0x8000)), ElementsAre(Range(0x11005, 0x800)));
  EXPECT_THAT(Take(Range(UINT64_MAX - 0xffff, 0x10000)),
              ElementsAre(Range(UINT64_MAX - 0x7ff, 0x800)));
}

TEST_F(WriteRecordTest, ForgetsWhatItGave) {
  record_.Record(Range(0, 0x10000), Range(0x1000, 1));

  EXPECT_THAT(Take(Range(0, 0x10000)), ElementsAre(Range(0x1000, 0x1000)));
  EXPECT_THAT(Take(Range(0, 0x10000)), IsEmpty());
}

TEST_F(WriteRecordTest, KeepsWhatIsOutsideTheRangeThatWasAskedFor) {
  record_.Record(Range(0, 0x10000), Range(0x1000, 0x3000));

  EXPECT_THAT(Take(Range(0x2000, 0x1000)), ElementsAre(Range(0x2000, 0x1000)));
  EXPECT_THAT(Take(Range(0, 0x10000)), ElementsAre(Range(0x1000, 0x1000), Range(0x3000, 0x1000)));
}

TEST_F(WriteRecordTest, JoinsWhatOverlapsAndAdjoinsInAnyOrder) {
  const IovaRange mapping = Range(0, 0x100000);
  for (const uint64_t page : {5u, 1u, 3u, 9u, 4u, 2u, 3u, 0u})
    record_.Record(mapping, Range(page << 12, 1));
  record_.Record(mapping, Range(0x8000, 0x4000));

  EXPECT_THAT(Take(mapping), ElementsAre(Range(0, 0x6000), Range(0x8000, 0x4000)));
}

TEST_F(WriteRecordTest, KeepsWhatAServerReported) {
  DirtyPages reported = *DirtyPages::Create(Range(0, 0x10000), 0x1000);
  reported.Mark(Range(0x1000, 0x2000));
  reported.Mark(Range(0x5000, 0x1000));

  record_.Keep(reported);

  EXPECT_THAT(Take(Range(0x2000, 0x10000)),
              ElementsAre(Range(0x2000, 0x1000), Range(0x5000, 0x1000)));
}

TEST_F(WriteRecordTest, KnowsNothingOfWhatWasWrittenWhileItWasOff) {
  record_.Record(Range(0, 0x10000), Range(0x1000, 1));
  record_.Stop();
  record_.Record(Range(0, 0x10000), Range(0x2000, 1));
  DirtyPages reported = *DirtyPages::Create(Range(0, 0x10000), 0x1000);
  reported.Mark(Range(0, 0x10000));
  record_.Keep(reported);
  EXPECT_EQ(record_.page_size(), std::nullopt);

  ASSERT_THAT(record_.Start(0x2000), IsOk());

  EXPECT_EQ(record_.page_size(), 0x2000u);
  EXPECT_THAT(Take(Range(0, 0x10000)), IsEmpty());
}

TEST_F(WriteRecordTest, RejectsASecondStart) {
  EXPECT_THAT(record_.Start(0x1000), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(WriteRecordTest, LosesNoWriteToAReportAtTheSameTime) {
  constexpr uint64_t kPages = 2000;
  const IovaRange mapping = Range(0, kPages << 12);
  DirtyPages seen = *DirtyPages::Create(mapping, 0x1000);
  std::thread writer([&] {
    for (uint64_t page = 0; page < kPages; ++page) record_.Record(mapping, Range(page << 12, 1));
  });
  while (!seen.IsDirty(Iova{(kPages - 1) << 12})) record_.TakeInto(seen);
  writer.join();

  EXPECT_EQ(seen.dirty_count(), kPages);
}

}  // namespace
}  // namespace vfio_user
