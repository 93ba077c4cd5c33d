// FeedService: feeds, their live streams, counters and read markers.
#pragma once

#include <memory>

#include "carillon/ports/feed_store.h"
#include "carillon/ports/live_bus.h"
#include "carillon/v1/feed_service.grpc.pb.h"
#include "server/api/unary_call.h"
#include "server/feed/live_hub.h"

namespace carillon {

// Subscribe is raw: its events are serialised once for all streams that send them.
using FeedServiceBase = v1::FeedService::WithRawCallbackMethod_Subscribe<
    v1::FeedService::WithCallbackMethod_ListFeed<v1::FeedService::WithCallbackMethod_GetFeedSummary<
        v1::FeedService::WithCallbackMethod_MarkRead<v1::FeedService::Service>>>>;

// Everything given outlives the gRPC server.
class FeedServiceImpl final : public FeedServiceBase {
 public:
  FeedServiceImpl(ServerCalls& calls, std::shared_ptr<FeedStore> store, LiveHub& hub, LivePublisher& publisher)
      : calls_(calls), store_(std::move(store)), hub_(hub), publisher_(publisher) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Subscribe(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* ListFeed(grpc::CallbackServerContext* context, const v1::ListFeedRequest* request,
                                     v1::ListFeedResponse* response) override;
  grpc::ServerUnaryReactor* GetFeedSummary(grpc::CallbackServerContext* context,
                                           const v1::GetFeedSummaryRequest* request,
                                           v1::GetFeedSummaryResponse* response) override;
  grpc::ServerUnaryReactor* MarkRead(grpc::CallbackServerContext* context, const v1::MarkReadRequest* request,
                                     v1::MarkReadResponse* response) override;

 private:
  absl::Status List(AppId app, const v1::ListFeedRequest& request, v1::ListFeedResponse* response);
  absl::Status Summarize(AppId app, const v1::GetFeedSummaryRequest& request, v1::GetFeedSummaryResponse* response);
  absl::Status Mark(AppId app, const v1::MarkReadRequest& request, v1::MarkReadResponse* response);
  // Shows a committed marker on the recipient's streams, here and elsewhere. The
  // sweep finds it where this fails.
  void Announce(const FeedKey& key, const ReadMarker& marker);

  ServerCalls& calls_;
  const std::shared_ptr<FeedStore> store_;
  LiveHub& hub_;
  LivePublisher& publisher_;
};

}  // namespace carillon
