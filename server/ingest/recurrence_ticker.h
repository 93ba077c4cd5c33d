// Sends what is sent again and again, when its time has come.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/event_store.h"
#include "carillon/ports/notification_store.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/ports/recurrence_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// What a recurrence sends at one of its times, with a key that is that time's alone.
using Occurrence = std::variant<NewNotification, NewEvent>;

// The first time of the recurrence after this one. Nothing: there is none within 10 years.
// An error: its cron or zone can't be read here, as another server may.
absl::StatusOr<std::optional<absl::Time>> NextTimeOf(const Recurrence& recurrence, absl::Time after);

// Looks once a second for what is due. Any number of servers share the work; each
// occurrence is accepted once. Start, Stop and the destructor: owner thread only.
class RecurrenceTicker {
 public:
  static constexpr int kStep = 200;  // Recurrences that one transaction holds.
  // One whose cron or zone can't be read here is due again after so long.
  static constexpr absl::Duration kPutOff = absl::Minutes(1);

  struct Deps {
    std::shared_ptr<RecurrenceStore> recurrences;
    std::shared_ptr<NotificationStore> notifications;
    std::shared_ptr<EventStore> events;
    // An error is an occurrence that is refused; one that passes by itself (errors.h)
    // is tried again at the next look.
    std::function<absl::StatusOr<Occurrence>(const DueRecurrence&)> prepare;
    // False while the lane takes no more: its occurrences wait.
    std::function<bool(Lane)> is_open;
    OutboxWaker& waker;
    const Clock& clock;
    Metrics& metrics;
  };

  explicit RecurrenceTicker(Deps deps);
  ~RecurrenceTicker() { Stop(); }

  void Start();
  // Returns when what is under way is done. Idempotent; for good.
  void Stop();

  // One look: everything that is due now, step by step. Blocks. On an error the rest
  // stays due. Call it from one thread, not after Start.
  absl::Status Tick();

 private:
  void Run();
  std::vector<RecurrenceTurn> CarryOut(absl::Span<const DueRecurrence> due, absl::Status& failure);

  const Deps deps_;
  prometheus::Counter& accepted_;
  prometheus::Counter& refused_;
  StopSignal stop_;
  std::thread thread_;
};

}  // namespace carillon
