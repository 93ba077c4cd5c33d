// Takes what arrives in the dead-letter queues (and in "unrouted") and records it
// in PostgreSQL together with the end of its notification, then acknowledges it:
// the queues return to zero and nothing is dead without the database knowing.
#pragma once

#include <memory>
#include <vector>

#include "carillon/domain/backoff.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/dead_letter_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Owner thread only.
class DeadLetterRecorder {
 public:
  struct Deps {
    std::unique_ptr<Consumer> broker;
    std::shared_ptr<DeadLetterStore> store;
    Metrics& metrics;
    const StopSignal& stop;
  };

  explicit DeadLetterRecorder(Deps deps);

  // Until stop.
  void Run();

 private:
  absl::Status Consume();
  absl::Status Record(const std::vector<InboundMessage>& messages);
  absl::Status Keep(absl::Span<const DeadLetter> letters);

  const Deps deps_;
  Backoff backoff_;
  prometheus::Counter& recorded_;
  prometheus::Gauge& failing_;
};

// What is recorded of a message: a letter for each item of a pack, else one.
// Texts from outside are made safe to store.
std::vector<DeadLetter> ToDeadLetters(const InboundMessage& message);

}  // namespace carillon
