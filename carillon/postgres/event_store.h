// EventStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/event_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Lets a paused event go on, within a transaction: its open pages are queued, as replayed so
// often. False if it is not paused.
bool ResumeEventRows(PgSession& session, pqxx::transaction_base& transaction, AppId app, const Uuid& id,
                     int replay_count = 0);

// The fan-out's part is in event_fanout.cc.
class PostgresEventStore final : public EventStore {
 public:
  explicit PostgresEventStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<EventOutcome> Accept(const NewEvent& event) override;
  absl::StatusOr<EventRecord> Get(AppId app, const Uuid& id) override;
  absl::StatusOr<EventRecord> Pause(AppId app, const Uuid& id) override;
  absl::StatusOr<EventRecord> Resume(AppId app, const Uuid& id) override;
  absl::StatusOr<EventRecord> Cancel(AppId app, const Uuid& id) override;

  absl::StatusOr<bool> IsWindowHeld(const Event& event, const std::string& key) override;
  absl::StatusOr<std::vector<std::string>> Sample(const Event& event, const std::string& after, int64_t every,
                                                  int limit) override;

  absl::StatusOr<OpenPage> Open(const FanoutPage& page) override;
  absl::StatusOr<Measure> MeasureAudience(const Event& event, int64_t step, int64_t limit) override;
  absl::StatusOr<bool> TakeWindow(const Event& event, const std::string& key, absl::Duration window) override;
  absl::Status Suppress(const Uuid& id, const std::string& detail) override;
  absl::Status BeginExpanding(const Event& event, int64_t audience_size, absl::Span<const EventRange> ranges) override;
  absl::Status StoreShared(const Event& event, int64_t audience_size, const PageItems& item) override;
  absl::StatusOr<int64_t> AddToTopicFeed(const Event& event, const FeedItem& item) override;
  absl::StatusOr<std::vector<std::string>> Members(const Event& event, const EventRange& range, int limit) override;
  absl::StatusOr<std::vector<WrittenItem>> WritePage(const Event& event, const PageWrite& write,
                                                     const PageItems& items) override;
  absl::Status FinishIfDone(const Uuid& id) override;

  absl::StatusOr<int> RequeueIdle(Lane lane, absl::Time idle_since, int limit) override;
  absl::StatusOr<int> Expire(absl::Time now, int limit) override;

 private:
  // The state that the event is in afterwards, by a statement that changes it where that is allowed.
  absl::StatusOr<EventRecord> Change(AppId app, const Uuid& id, const PgStatement& statement, EventState wanted);

  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
