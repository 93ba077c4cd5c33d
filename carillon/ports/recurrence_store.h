// What is sent again and again, and when next. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/ids.h"

namespace carillon {

struct Recurrence {
  Uuid id;
  AppId app;
  absl::Time create_time;               // By the app's clock, as every time here.
  std::optional<absl::Time> next_time;  // Nothing: never again.
  std::string cron;
  std::string time_zone;  // Empty: UTC.
  std::string type;
  std::string recipient;   // Empty: it is an event.
  std::string last_error;  // Empty: the last occurrence was accepted, or there was none.
  std::string request;     // What is sent; bytes that the store does not read.
};

// One whose time has come.
struct DueRecurrence {
  Recurrence recurrence;
  absl::Time app_time;  // What time it is for its app.
};

// That an occurrence is over.
struct RecurrenceTurn {
  Uuid id;
  std::optional<absl::Time> next_time;
  std::string error;  // Why it was refused; empty: it was accepted.
};

class RecurrenceStore {
 public:
  // Of an app; more are refused.
  static constexpr int kMaxRecurrences = 1000;

  virtual ~RecurrenceStore() = default;

  // INVALID_ARGUMENT past kMaxRecurrences.
  virtual absl::Status Create(const Recurrence& recurrence) = 0;

  struct ListQuery {
    AppId app;
    std::optional<Uuid> after;  // The last id of the page before.
    int limit = 100;
  };
  // By id, without their requests.
  virtual absl::StatusOr<std::vector<Recurrence>> List(const ListQuery& query) = 0;

  // False: the app has none of that id.
  virtual absl::StatusOr<bool> Delete(AppId app, const Uuid& id) = 0;

  struct DuePosition {
    absl::Time next_time;
    Uuid id;
  };
  struct DueQuery {
    absl::Time now;  // Each app's clock is ahead of it by the app's offset.
    std::optional<DuePosition> after;
    int limit = 200;
  };
  // Calls `carry_out`, if any are due, with those that are due and that nobody else holds, earliest
  // first; nobody else gets them until their turns, which it returns, are written. What has
  // no turn stays due. If this fails nothing of them is written and all are due again: what
  // carry_out does must be safe to repeat. Returns where the next call goes on; nothing: at the end.
  using CarryOut = absl::FunctionRef<std::vector<RecurrenceTurn>(absl::Span<const DueRecurrence>)>;
  virtual absl::StatusOr<std::optional<DuePosition>> RunDue(const DueQuery& query, CarryOut carry_out) = 0;
};

}  // namespace carillon
