#include "carillon/postgres/membership_import.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "carillon/postgres/membership_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class MembershipImportTest : public PostgresTest {
 protected:
  ImportFile File(int64_t size = 1000, char first_line = 'f') const {
    return {.app = app_, .kind = GroupKind::kFollowers, .size = size, .first_line_hash = std::string(32, first_line)};
  }
  static ImportPosition At(int64_t offset, int64_t lines) {
    return {.offset = offset, .lines = lines, .added = 0, .skipped = 0, .prefix_hash = std::string(32, '\xff')};
  }
  std::vector<std::string> Followers(const std::string& group) {
    const auto members = store_.List({app_, GroupKind::kFollowers, group}, "", 1'000'000);
    EXPECT_OK(members);
    return members.value_or(std::vector<std::string>());
  }
  int64_t OffsetOf(const ImportFile& file) {
    const absl::StatusOr<ImportPosition> found = MembershipImport(Options(), file).Find();
    EXPECT_OK(found);
    return found.ok() ? found->offset : -1;
  }

  const AppId app_ = NewApp();
  PostgresMembershipStore store_{MakePool(2)};
  MembershipImport import_{Options(), File()};
};

TEST_F(MembershipImportTest, KeepsThePositionTogetherWithTheLines) {
  ASSERT_OK_AND_ASSIGN(ImportPosition position,
                       import_.Write({{"cleo", "bob"}, {"cleo", "ann"}, {"cleo", "bob"}}, At(30, 4)));
  EXPECT_EQ(position.added, 2);
  position.offset = 50;
  position.lines = 6;
  position.skipped = 1;
  ASSERT_OK_AND_ASSIGN(position, import_.Write({{"cleo", "ann"}, {"dan", "ann"}}, position));
  EXPECT_EQ(position.added, 3);
  ASSERT_OK_AND_ASSIGN(const ImportPosition found, MembershipImport(Options(), File()).Find());
  EXPECT_EQ(found.offset, 50);
  EXPECT_EQ(found.lines, 6);
  EXPECT_EQ(found.added, 3);
  EXPECT_EQ(found.skipped, 1);
  EXPECT_EQ(found.prefix_hash, std::string(32, '\xff'));
  EXPECT_THAT(Followers("cleo"), ElementsAre("ann", "bob"));
}

TEST_F(MembershipImportTest, WritesNothingOfAChunkThatFails) {
  EXPECT_THAT(import_.Write({{"cleo", "ann"}}, At(/*offset=*/1001, 1)), Not(IsOk()));
  EXPECT_THAT(Followers("cleo"), IsEmpty());
  EXPECT_EQ(OffsetOf(File()), 0);
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM feed_heads WHERE app_id = ", app_.value())), "0");
  // And goes on with what fails no more.
  EXPECT_OK(import_.Write({{"cleo", "ann"}}, At(10, 1)));
  EXPECT_THAT(Followers("cleo"), ElementsAre("ann"));
}

TEST_F(MembershipImportTest, TellsFilesApart) {
  ASSERT_OK(import_.Write({{"cleo", "ann"}}, At(10, 1)));
  ImportFile other_app = File();
  other_app.app = NewApp();
  ImportFile other_kind = File();
  other_kind.kind = GroupKind::kTopic;
  EXPECT_EQ(OffsetOf(File()), 10);
  EXPECT_EQ(OffsetOf(File(1001)), 0);
  EXPECT_EQ(OffsetOf(File(1000, 'g')), 0);
  EXPECT_EQ(OffsetOf(other_app), 0);
  EXPECT_EQ(OffsetOf(other_kind), 0);
}

TEST_F(MembershipImportTest, KeepsNoPositionOfWhatCantBeReadTwice) {
  const ImportFile pipe{.app = app_, .kind = GroupKind::kFollowers, .size = 0, .first_line_hash = ""};
  MembershipImport import(Options(), pipe);
  ASSERT_OK(import.Write({{"cleo", "ann"}}, At(10, 1)));
  EXPECT_EQ(OffsetOf(pipe), 0);
  EXPECT_OK(import.Forget());
}

TEST_F(MembershipImportTest, BeginsAnewWhenTheFileWasDone) {
  ASSERT_OK(import_.Write({{"cleo", "ann"}}, At(1000, 1)));
  ASSERT_OK(import_.Forget());
  EXPECT_EQ(OffsetOf(File()), 0);
  EXPECT_THAT(Followers("cleo"), ElementsAre("ann"));
}

TEST_F(MembershipImportTest, TakesIdsAsTheyAre) {
  const std::string odd = "a\\b\"c'{d},e ä€😀 \\N";
  ASSERT_OK(import_.Write({{odd, odd}, {odd, "\\N"}}, At(10, 1)));
  EXPECT_THAT(Followers(odd), ElementsAre("\\N", odd));
}

TEST_F(MembershipImportTest, MakesFeedsAndRemembersSinceWhenAsAddDoes) {
  Query(absl::StrCat("INSERT INTO event_positions VALUES (", app_.value(), ", 5)"));
  ASSERT_OK(import_.Write({{"cleo", "ann"}}, At(10, 1)));
  const std::string where = absl::StrCat(" WHERE app_id = ", app_.value());
  EXPECT_EQ(Query("SELECT since_position FROM memberships" + where), "5");
  EXPECT_EQ(Query("SELECT event_position FROM feed_heads" + where), "5");
}

TEST_F(MembershipImportTest, EndsInNoDeadlockBesideOthersThatAdd) {
  RunThreads(4, [&](int thread) {
    MembershipImport import(Options(), File(1000, static_cast<char>('a' + thread)));
    for (int round = 0; round < 10; ++round) {
      std::vector<Membership> chunk;
      for (int i = 0; i < 200; ++i) {
        const int member = thread % 2 == 0 ? i : 199 - i;
        chunk.push_back({absl::StrCat("group", member % 3), absl::StrCat("member-", round, "-", member)});
      }
      if (thread < 2) {
        ASSERT_OK(import.Write(chunk, At(10, 1)));
      } else {
        ASSERT_OK(store_.Add(app_, GroupKind::kFollowers, chunk));
      }
    }
  });
  EXPECT_THAT(Followers("group0"), SizeIs(670));
  EXPECT_EQ(Query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "0");
}

}  // namespace
}  // namespace carillon::testing
