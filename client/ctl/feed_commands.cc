// feed, watch.
#include <algorithm>
#include <cstdio>

#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"
#include "client/ctl/watch.h"

namespace carillon::ctl {
namespace {

constexpr int kFeedPage = 100;

struct FeedOptions {
  std::string user;
  bool unread_only = false;
  int limit = kFeedPage;
};

// One document however many pages it takes.
absl::StatusOr<v1::ListFeedResponse> ReadFeed(Client& client, const FeedOptions& options) {
  v1::ListFeedResponse all;
  v1::ListFeedRequest request;
  request.set_user_id(options.user);
  request.set_unread_only(options.unread_only);
  request.set_page_size(std::min(options.limit, kFeedPage));
  while (true) {
    ASSIGN_OR_RETURN(const v1::ListFeedResponse page, client.ListFeed(request));
    for (const v1::FeedItem& item : page.items()) {
      if (all.items_size() == options.limit) return all;
      *all.add_items() = item;
    }
    if (page.next_page_token().empty()) return all;
    request.set_page_token(page.next_page_token());
  }
}

absl::Status Feed(Context& context, const FeedOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::ListFeedResponse feed, ReadFeed(*client, options));
  if (context.json()) {
    std::printf("%s\n", ToJson(feed).c_str());
    return absl::OkStatus();
  }
  v1::GetFeedSummaryRequest request;
  request.set_user_id(options.user);
  ASSIGN_OR_RETURN(const v1::GetFeedSummaryResponse summary, client->GetFeedSummary(request));
  std::printf("%s: %ld unread, last seq %ld\n", options.user.c_str(), static_cast<long>(summary.unread()),
              static_cast<long>(summary.last_seq()));
  for (const v1::FeedItem& item : feed.items()) PrintItem(item);
  return absl::OkStatus();
}

}  // namespace

void AddFeedCommands(CLI::App& app, Context& context) {
  auto feed_options = std::make_shared<FeedOptions>();
  CLI::App* feed = AddCommand(app, context, "feed", "list a recipient's feed, newest first",
                              [&context, feed_options] { return Feed(context, *feed_options); });
  feed->add_option("--user", feed_options->user, "the recipient")->required();
  feed->add_flag("--unread", feed_options->unread_only, "unread items only");
  feed->add_option("--limit", feed_options->limit, "items at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  AddWatchCommand(app, context);
}

}  // namespace carillon::ctl
