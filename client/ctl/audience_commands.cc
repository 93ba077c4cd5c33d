// follows add|remove|list|import, topics subscribe|unsubscribe|subscribers|feed|watch.
#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/follows_import.h"
#include "client/ctl/output.h"
#include "client/ctl/watch.h"

namespace carillon::ctl {
namespace {

constexpr int kMembersPage = 1000;
constexpr int kFeedPage = 100;

struct FollowOptions {
  std::string follower;
  std::string followee;
};

// Follow or Unfollow. `relation` says how the two stand now, for people.
template <typename Request, typename Response, typename Relation>
absl::Status ChangeFollow(Context& context, const FollowOptions& options,
                          absl::StatusOr<Response> (Client::*method)(const Request&), Relation relation) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  Request request;
  v1::FollowEdge& edge = *request.add_follows();
  edge.set_follower_id(options.follower);
  edge.set_followee_id(options.followee);
  ASSIGN_OR_RETURN(const Response response, (client->*method)(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    absl::PrintF("%s %s %s\n", options.follower, relation(response), options.followee);
  }
  return absl::OkStatus();
}

absl::Status Follow(Context& context, const FollowOptions& options) {
  return ChangeFollow(context, options, &Client::Follow, [](const v1::FollowResponse& response) {
    return response.added() > 0 ? "follows" : "already follows";
  });
}

absl::Status Unfollow(Context& context, const FollowOptions& options) {
  return ChangeFollow(context, options, &Client::Unfollow, [](const v1::UnfollowResponse& response) {
    return response.removed() > 0 ? "no longer follows" : "did not follow";
  });
}

struct SubscriptionOptions {
  std::string topic;
  std::string user;
};

// AddTopicSubscriptions or RemoveTopicSubscriptions, as ChangeFollow.
template <typename Request, typename Response, typename Relation>
absl::Status ChangeSubscription(Context& context, const SubscriptionOptions& options,
                                absl::StatusOr<Response> (Client::*method)(const Request&), Relation relation) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  Request request;
  v1::TopicSubscription& subscription = *request.add_subscriptions();
  subscription.set_topic_id(options.topic);
  subscription.set_user_id(options.user);
  ASSIGN_OR_RETURN(const Response response, (client->*method)(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    absl::PrintF("%s %s %s\n", options.user, relation(response), options.topic);
  }
  return absl::OkStatus();
}

absl::Status Subscribe(Context& context, const SubscriptionOptions& options) {
  return ChangeSubscription(context, options, &Client::AddTopicSubscriptions,
                            [](const v1::AddTopicSubscriptionsResponse& response) {
                              return response.added() > 0 ? "subscribes to" : "already subscribes to";
                            });
}

absl::Status Unsubscribe(Context& context, const SubscriptionOptions& options) {
  return ChangeSubscription(context, options, &Client::RemoveTopicSubscriptions,
                            [](const v1::RemoveTopicSubscriptionsResponse& response) {
                              return response.removed() > 0 ? "no longer subscribes to" : "did not subscribe to";
                            });
}

struct ListOptions {
  std::string id;
  int limit = kMembersPage;
};

// Reads pages until the limit; one document however many pages it takes. `ids`
// leads to the field of the response that holds them.
template <typename Request, typename Response, typename Ids>
absl::Status ListMembers(Context& context, Request request, int limit,
                         absl::StatusOr<Response> (Client::*method)(const Request&), Ids ids) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  Response all;
  do {
    request.set_page_size(std::min(kMembersPage, limit - ids(all)->size()));
    ASSIGN_OR_RETURN(Response page, (client->*method)(request));
    ids(all)->MergeFrom(*ids(page));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && ids(all)->size() < limit);
  if (context.json()) {
    std::printf("%s\n", ToJson(all).c_str());
    return absl::OkStatus();
  }
  for (const std::string& id : *ids(all)) std::printf("%s\n", id.c_str());
  if (!request.page_token().empty()) std::fprintf(stderr, "(there are more: --limit)\n");
  return absl::OkStatus();
}

absl::Status ListFollowers(Context& context, const ListOptions& options) {
  v1::ListFollowersRequest request;
  request.set_followee_id(options.id);
  return ListMembers(context, request, options.limit, &Client::ListFollowers,
                     [](v1::ListFollowersResponse& response) { return response.mutable_follower_ids(); });
}

absl::Status ListSubscribers(Context& context, const ListOptions& options) {
  v1::ListTopicSubscribersRequest request;
  request.set_topic_id(options.id);
  return ListMembers(context, request, options.limit, &Client::ListTopicSubscribers,
                     [](v1::ListTopicSubscribersResponse& response) { return response.mutable_user_ids(); });
}

absl::Status TopicFeed(Context& context, const ListOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListTopicFeedResponse all;
  v1::ListTopicFeedRequest request;
  request.set_topic_id(options.id);
  request.set_page_size(std::min(options.limit, kFeedPage));
  do {
    ASSIGN_OR_RETURN(const v1::ListTopicFeedResponse page, client->ListTopicFeed(request));
    // The newest when the listing began: a stream after it misses nothing.
    if (request.page_token().empty()) all.set_last_seq(page.last_seq());
    for (const v1::FeedItem& item : page.items()) {
      if (all.items_size() < options.limit) *all.add_items() = item;
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.items_size() < options.limit);
  if (context.json()) {
    std::printf("%s\n", ToJson(all).c_str());
    return absl::OkStatus();
  }
  absl::PrintF("%s: last seq %d\n", options.id, all.last_seq());
  for (const v1::FeedItem& item : all.items()) PrintItem(item);
  return absl::OkStatus();
}

void AddImportCommand(CLI::App& follows, Context& context) {
  auto options = std::make_shared<FollowsImportOptions>();
  CLI::App* import = AddCommand(follows, context, "import",
                                "bring a file of follows into CARILLON_DATABASE_URL; run again it goes on where it was",
                                [&context, options] { return ImportFollows(context, *options); });
  import->add_option("FILE", options->path, "lines of follower_id, a tab, followee_id; -: standard input")->required();
  import->add_flag("--skip-bad", options->skip_bad, "leave bad lines out and count them");
  import->add_option("--chunk", options->chunk_lines, "lines in one transaction")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
}

template <typename Run>
CLI::App* AddFollowCommand(CLI::App& follows, Context& context, const std::string& name, const std::string& help,
                           Run run) {
  auto options = std::make_shared<FollowOptions>();
  CLI::App* command =
      AddCommand(follows, context, name, help, [&context, options, run] { return run(context, *options); });
  command->add_option("--follower", options->follower, "who follows")->required();
  command->add_option("--followee", options->followee, "who is followed")->required();
  return command;
}

template <typename Run>
CLI::App* AddSubscriptionCommand(CLI::App& topics, Context& context, const std::string& name, const std::string& help,
                                 Run run) {
  auto options = std::make_shared<SubscriptionOptions>();
  CLI::App* command =
      AddCommand(topics, context, name, help, [&context, options, run] { return run(context, *options); });
  command->add_option("--topic", options->topic, "the topic")->required();
  command->add_option("--user", options->user, "the subscriber")->required();
  return command;
}

// A command that lists what belongs to an id.
template <typename Run>
CLI::App* AddListCommand(CLI::App& parent, Context& context, const std::string& name, const std::string& help,
                         const std::string& id_option, Run run) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command =
      AddCommand(parent, context, name, help, [&context, options, run] { return run(context, *options); });
  command->add_option(id_option, options->id, "whose")->required();
  command->add_option("--limit", options->limit, "at most so many")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000'000));
  return command;
}

}  // namespace

void AddAudienceCommands(CLI::App& app, Context& context) {
  CLI::App* follows = app.add_subcommand("follows", "who follows whom");
  follows->require_subcommand(1);
  AddFollowCommand(*follows, context, "add", "make a user follow another", Follow);
  AddFollowCommand(*follows, context, "remove", "end it", Unfollow);
  AddListCommand(*follows, context, "list", "list a user's followers", "--followee", ListFollowers);
  AddImportCommand(*follows, context);

  CLI::App* topics = app.add_subcommand("topics", "topics, their subscribers and public feeds");
  topics->require_subcommand(1);
  AddSubscriptionCommand(*topics, context, "subscribe", "subscribe a user to a topic", Subscribe);
  AddSubscriptionCommand(*topics, context, "unsubscribe", "end it", Unsubscribe);
  AddListCommand(*topics, context, "subscribers", "list a topic's subscribers", "--topic", ListSubscribers);
  AddListCommand(*topics, context, "feed", "list a topic's public feed, newest first", "--topic", TopicFeed);
  AddTopicWatchCommand(*topics, context);
}

}  // namespace carillon::ctl
