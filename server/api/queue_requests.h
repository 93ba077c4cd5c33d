// ListQueues: the newest look at all queues as a response.
#pragma once

#include <memory>

#include "carillon/v1/admin_service.pb.h"
#include "server/api/unary_call.h"
#include "server/ingest/outbox_guard.h"
#include "server/pressure/queue_monitor.h"

namespace carillon {

// Thread-safe.
class QueueRequests {
 public:
  QueueRequests(QueueMonitor& monitor, const OutboxGuard& outbox) : monitor_(monitor), outbox_(outbox) {}

  // Waits for a look that begins after this, on no thread, and finishes the call. `request`
  // and `response` live until then.
  void List(const std::shared_ptr<UnaryCall>& call, const v1::ListQueuesRequest& request,
            v1::ListQueuesResponse* response);

 private:
  void Fill(const PressureSample& sample, absl::Duration history, v1::ListQueuesResponse* response) const;

  QueueMonitor& monitor_;
  const OutboxGuard& outbox_;
};

}  // namespace carillon
