// FeedService: feeds of recipients and topics, their live streams, counters and
// read markers.
#pragma once

#include <memory>

#include "carillon/ports/feed_store.h"
#include "carillon/ports/interaction_store.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/reaction_store.h"
#include "carillon/v1/feed_service.grpc.pb.h"
#include "server/api/unary_call.h"
#include "server/feed/live_hub.h"
#include "server/feed/shared_reads.h"

namespace carillon {

// Raw are the streams, whose events are serialised once for all that send them,
// and the lists, whose answers are serialised once for all that wait for them.
using RawFeedMethods = v1::FeedService::WithRawCallbackMethod_Subscribe<
    v1::FeedService::WithRawCallbackMethod_SubscribeTopic<v1::FeedService::WithRawCallbackMethod_ListFeed<
        v1::FeedService::WithRawCallbackMethod_ListTopicFeed<v1::FeedService::Service>>>>;
using FeedServiceBase = v1::FeedService::WithCallbackMethod_GetFeedSummary<
    v1::FeedService::WithCallbackMethod_MarkRead<v1::FeedService::WithCallbackMethod_RecordInteraction<
        v1::FeedService::WithCallbackMethod_GetCounters<RawFeedMethods>>>>;

// Everything given outlives the gRPC server. Thread-safe.
class FeedServiceImpl final : public FeedServiceBase {
 public:
  struct Parts {
    std::shared_ptr<FeedStore> store;
    std::shared_ptr<ReactionStore> reactions;
    LiveHub& hub;
    LivePublisher& publisher;
    std::shared_ptr<InteractionStore> interactions;
  };

  FeedServiceImpl(ServerCalls& calls, Parts parts, Metrics& metrics);

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Subscribe(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* SubscribeTopic(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* ListFeed(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListTopicFeed(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetFeedSummary(grpc::CallbackServerContext* context,
                                           const v1::GetFeedSummaryRequest* request,
                                           v1::GetFeedSummaryResponse* response) override;
  grpc::ServerUnaryReactor* MarkRead(grpc::CallbackServerContext* context, const v1::MarkReadRequest* request,
                                     v1::MarkReadResponse* response) override;
  grpc::ServerUnaryReactor* RecordInteraction(grpc::CallbackServerContext* context,
                                              const v1::RecordInteractionRequest* request,
                                              v1::RecordInteractionResponse* response) override;
  grpc::ServerUnaryReactor* GetCounters(grpc::CallbackServerContext* context, const v1::GetCountersRequest* request,
                                        v1::GetCountersResponse* response) override;

 private:
  // Answers with the page that the request asks for, read by `read` unless somebody
  // else's read will do.
  template <typename Request, auto read>
  grpc::ServerUnaryReactor* Share(SharedReads& reads, grpc::CallbackServerContext* context, absl::string_view method,
                                  const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
  absl::Status Summarize(AppId app, const v1::GetFeedSummaryRequest& request, v1::GetFeedSummaryResponse* response);
  absl::Status Mark(AppId app, const v1::MarkReadRequest& request, v1::MarkReadResponse* response);
  absl::Status Count(AppId app, const v1::GetCountersRequest& request, v1::GetCountersResponse* response);
  // Shows a committed marker on the recipient's streams, here and elsewhere. The
  // sweep finds it where this fails.
  void Announce(const FeedKey& key, const ReadMarker& marker);

  ServerCalls& calls_;
  const std::shared_ptr<FeedStore> store_;
  const std::shared_ptr<ReactionStore> reactions_;
  const std::shared_ptr<InteractionStore> interactions_;
  LiveHub& hub_;
  LivePublisher& publisher_;
  SharedReads recipient_reads_;
  SharedReads topic_reads_;
};

}  // namespace carillon
