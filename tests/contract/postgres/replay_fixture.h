// What the tests of dead letters that are put back share: letters of notifications and
// deliveries, and runs.
#pragma once

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "carillon/postgres/dead_letter_store.h"
#include "carillon/postgres/replay_store.h"
#include "carillon/wire/envelope.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {

class ReplayStoreTest : public DeliveryTest {
 protected:
  // A notification's letter, as a worker and the recorder make it.
  DeadLetter LetterOfItem(const NewNotification& item, const std::string& error = "no template of version 3") const {
    return {.app = app_,
            .notification_id = item.notification.id,
            .queue = "social.like",
            .lane = "social",
            .message_id = item.notification.id.ToString(),
            .type = "like",
            .exchange = "carillon.dlx",
            .routing_key = "social.like.dlq",
            .reason = "permanent",
            .error = error,
            .payload = EncodeEnvelope(item.notification),
            .retention_days = item.notification.retention_days};
  }
  DeadLetter Died(const NewNotification& item, int replays = 0) {
    DeadLetter letter = LetterOfItem(item);
    letter.replay_count = replays;
    EXPECT_OK(letters_.Record({letter}));
    return letter;
  }
  DeadLetter DiedDelivery(const Delivery& delivery) {
    DeadLetter letter = LetterOf(delivery);
    letter.payload = EncodeEnvelope(delivery);
    EXPECT_OK(letters_.Record({letter}));
    return letter;
  }
  std::vector<NewNotification> DiedMany(int count) {
    std::vector<NewNotification> items;
    std::vector<DeadLetter> letters;
    for (int i = 0; i < count; ++i) {
      items.push_back(MakeNew(app_));
      letters.push_back(LetterOfItem(items.back()));
    }
    AcceptAll(items);
    EmptyOutbox();
    EXPECT_OK(letters_.Record(letters));
    return items;
  }

  ReplayOrder Order() const {
    ReplayOrder order{.app = app_, .operator_name = "ann", .reason = "fixed", .filter = {}, .max_replays = 5};
    order.filter.app = app_;
    return order;
  }
  ReplayRun BeginRun(const ReplayOrder& order) {
    const auto run = store_.Begin(order);
    EXPECT_OK(run);
    return run.ok() ? *run : ReplayRun();
  }
  ReplayRun BeginRun() { return BeginRun(Order()); }
  // Until no letter is left that nobody holds.
  ReplayRun ReplayAll(ReplayRun run, int step = 100) {
    for (int64_t before = -1; run.replay.counts.looked_at() > before;) {
      before = run.replay.counts.looked_at();
      EXPECT_OK(store_.Step(run, step));
    }
    return run;
  }
  ReplayRun ReplayAll() { return ReplayAll(BeginRun()); }
  // One whose runner has not been there for long.
  static void Abandon(const ReplayRun& run) {
    Query(absl::StrCat("UPDATE replays SET heartbeat_at = now() - interval '6 seconds' WHERE replay_id = '",
                       run.replay.id.ToString(), "'"));
  }

  // exchange, key and count of what waits to be published.
  static std::string Queued() {
    return Query(
        "SELECT string_agg(concat_ws(' ', lane, '<' || exchange || '>', routing_key, replay_count), ', '"
        " ORDER BY routing_key) FROM outbox");
  }
  std::string Letters(const std::string& expression = "state") {
    return Query(absl::StrCat("SELECT string_agg(concat_ws(' ', ", expression,
                              "), ', ' ORDER BY dead_letter_id) FROM dead_letters WHERE app_id = ", app_.value()));
  }

  // Each once.
  std::string LetterStates() {
    return Query(
        absl::StrCat("SELECT string_agg(DISTINCT state, ' ') FROM dead_letters WHERE app_id = ", app_.value()));
  }

  PostgresDeadLetterStore letters_{MakePool(4)};
  PostgresReplayStore store_{MakePool(4)};
};

}  // namespace carillon::testing
