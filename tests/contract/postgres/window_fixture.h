// What the tests of windows share: likes of one post, and a clock that they move.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/reaction_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {

class WindowTest : public PostgresTest {
 protected:
  static constexpr char kPost[] = "post-1";
  static constexpr absl::Duration kOffset = absl::Hours(2);  // The app's clock is ahead.

  // As windows are at this moment of the app's clock.
  std::shared_ptr<const ReactionWindow> Now() const {
    return std::make_shared<const ReactionWindow>(ReactionWindow{.aggregation = aggregation_,
                                                                 .now = now_,
                                                                 .clock_offset = kOffset,
                                                                 .tells = tells_,
                                                                 .lane = Lane::kSocial,
                                                                 .exchange = "carillon.direct",
                                                                 .routing_key = "social.like",
                                                                 .retention_days = 7});
  }
  // By `actor`, told to ann.
  Reaction Like(const std::string& actor, int64_t version) const {
    return {.app = ann_.app,
            .actor_id = actor,
            .object_id = kPost,
            .kind = "like",
            .active = true,
            .version = version,
            .recipient = "ann",
            .type = "like",
            .data_json = absl::StrCat(R"({"actor_name":"Mx )", actor, R"("})"),
            .accept_time = absl::FromUnixSeconds(1'700'000'000 + version),
            .window = Now()};
  }
  Reaction Unlike(const std::string& actor, int64_t version) const {
    Reaction reaction = Like(actor, version);
    reaction.active = false;
    return reaction;
  }

  static ReactionItem Render(const Reaction& newest) {
    ReactionItem rendered;
    rendered.item.id = NewUuid7(absl::Now());
    rendered.item.title = newest.actor_id;
    rendered.item.actor_id = newest.actor_id;
    rendered.item.data_json = newest.data_json;
    rendered.item.create_time = newest.accept_time;
    return rendered;
  }
  std::vector<ReactionChange> Apply(const std::vector<Reaction>& reactions) {
    absl::StatusOr<std::vector<ReactionChange>> changes = store_.Apply(reactions, Render);
    EXPECT_OK(changes);
    return changes.ok() ? *std::move(changes) : std::vector<ReactionChange>();
  }

  // Newest first.
  std::vector<FeedItem> Items() {
    absl::StatusOr<std::vector<FeedItem>> items = feeds_.List({.key = ann_, .before_seq = {}, .limit = 500});
    EXPECT_OK(items);
    return items.ok() ? *std::move(items) : std::vector<FeedItem>();
  }
  // How many actors each of them counts.
  std::vector<int64_t> Counts() {
    std::vector<int64_t> counts;
    for (const FeedItem& item : Items()) counts.push_back(item.actor_count);
    return counts;
  }

  std::string OfApp(const std::string& select, const std::string& more = "") const {
    return Query(absl::StrCat(select, " WHERE app_id = ", ann_.app.value(), more));
  }
  // The only one that waits, as its message says.
  DueWindow Waiting();
  std::string WindowsThatWait() const { return OfApp("SELECT count(*) FROM schedules", " AND cause = 'window'"); }
  // Ends it as a worker does that sends one e-mail. What it had gathered; nothing: it did nothing.
  std::vector<GatheredWindow> End(const DueWindow& window);

  const FeedKey ann_{NewApp(), RecipientId("ann")};
  absl::Time now_ = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now())) + kOffset;
  Aggregation aggregation_{.window = absl::Minutes(10), .sliding = false, .max_window = {}};
  bool tells_ = true;
  PostgresReactionStore store_{MakePool(10)};
  PostgresFeedStore feeds_{MakePool(4)};
};

}  // namespace carillon::testing
