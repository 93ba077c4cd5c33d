#include "carillon/postgres/person_store.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/person_erase.h"

namespace carillon {
namespace {

// The first stages go by index and are gone through every time; those after them
// walk, and an interrupted erasing remembers how far it has walked.
struct Stages {
  std::vector<EraseStage> all;
  size_t first_walk = 0;
};

const Stages& AllStages() {
  static const auto* const stages = [] {
    auto* const made = new Stages();
    const auto append = [made](const std::vector<EraseStage>& more) {
      made->all.insert(made->all.end(), more.begin(), more.end());
    };
    append({{{}, EraseContacts}});
    append(SettingStages());
    // Before, as a digest becomes a notification; and after, as one opens a digest.
    append(DigestStages());
    append(OwnRowStages());
    append(DigestStages());
    made->first_walk = made->all.size();
    append({ReactionStage()});
    append(TraceStages());
    append(PayloadStages());
    // Once more: a digest that opened since has lost the row that it waits by.
    append(DigestStages());
    // Last: while others' rows are changed no head is locked.
    append({{{}, EraseHead}});
    return made;
  }();
  return *stages;
}

constexpr PgStatement kReadPosition = {"read_erase_position", R"sql(
  SELECT position FROM tombstones WHERE app_id = $1 AND recipient_hash = sha256(convert_to($2, 'UTF8'))
)sql"};

constexpr PgStatement kWritePosition = {"write_erase_position", R"sql(
  UPDATE tombstones SET position = $3 WHERE app_id = $1 AND recipient_hash = sha256(convert_to($2, 'UTF8'))
)sql"};

// Where an erasing is.
struct Progress {
  size_t stage = 0;
  Place place;

  void Enter(size_t next) {
    stage = next;
    place = next < AllStages().all.size() ? FirstPlace(AllStages().all[next].place_types) : Place();
  }
  bool walks() const { return stage >= AllStages().first_walk; }
};

std::string ToText(const Progress& progress) {
  if (progress.stage >= AllStages().all.size()) return "";
  return absl::StrCat(progress.stage, "/", EncodePlace(progress.place));
}

absl::StatusOr<Progress> ToProgress(const std::string& text) {
  Progress progress;
  if (text.empty()) return progress;
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('/', 1));
  if (!absl::SimpleAtoi(parts.first, &progress.stage) || progress.stage >= AllStages().all.size()) {
    return error::Internal("an erasing has no such stage");
  }
  ASSIGN_OR_RETURN(progress.place, DecodePlace(parts.second, AllStages().all[progress.stage].place_types));
  return progress;
}

// Where the one before was interrupted, if it was. A position of another version of
// this program may mean nothing here: then everything is walked through.
void Resume(PgSession& session, pqxx::work& transaction, const FeedKey& key, Progress& progress) {
  const pqxx::result rows = session.Execute(transaction, kReadPosition, key.app.value(), key.recipient.value());
  if (rows.empty() || rows[0][0].is_null()) return;
  const absl::StatusOr<Progress> stored = ToProgress(OwnedText(rows[0][0]));
  if (stored.ok() && stored->walks()) progress = *stored;
}

}  // namespace

absl::StatusOr<EraseStep> PostgresPersonStore::Erase(const FeedKey& key, const std::string& position) {
  ASSIGN_OR_RETURN(const Progress begin, ToProgress(position));
  EraseStep done;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    Progress progress = begin;
    const StageStep step = AllStages().all[progress.stage].step(session, transaction, key, progress.place);
    const bool walked = progress.walks();
    if (step.next.has_value()) {
      progress.place = *step.next;
    } else {
      progress.Enter(progress.stage + 1);
    }
    done = {.rows = step.rows, .next = ToText(progress)};
    if (walked) {
      session.Execute(transaction, kWritePosition, key.app.value(), key.recipient.value(), OrNull(done.next));
    } else if (progress.walks()) {
      Resume(session, transaction, key, progress);
      done.next = ToText(progress);
    }
    return absl::OkStatus();
  }));
  return done;
}

}  // namespace carillon
