// The links that messages carry: the pixel, tracked links, unsubscribing.
#pragma once

#include <memory>

#include "carillon/channels/link_tokens.h"
#include "carillon/ports/interaction_store.h"
#include "carillon/runtime/executor.h"
#include "server/http/router.h"

namespace carillon {

// Thread-safe. Outlives the HTTP server. What a link leads to never waits for what it
// counts: while the store is away openings and clicks are not counted.
class LinkRoutes {
 public:
  LinkRoutes(LinkTokens tokens, std::shared_ptr<InteractionStore> store, Executor& executor)
      : tokens_(std::move(tokens)), store_(std::move(store)), executor_(executor) {}

  void AddTo(Router& router);

 private:
  void Open(const HttpRequest& request, const HttpRespond& respond);
  void Click(const HttpRequest& request, const HttpRespond& respond);
  void AskToUnsubscribe(const HttpRequest& request, const HttpRespond& respond);
  // RFC 8058.
  void Unsubscribe(const HttpRequest& request, const HttpRespond& respond);

  void Record(const LinkTarget& target, InteractionKind kind);

  const LinkTokens tokens_;
  const std::shared_ptr<InteractionStore> store_;
  Executor& executor_;
};

}  // namespace carillon
