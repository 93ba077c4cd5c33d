// Looks at every queue, the outbox and the breakers, and remembers an hour of it.
//
// One thread looks for all who ask, every 5 s, and when somebody asks at most once a
// second: however many admins watch, it costs the broker and PostgreSQL no more. While the
// broker is away lanes are still told of by the outbox.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/pressure_store.h"
#include "server/pressure/objectives.h"
#include "server/pressure/pressure_gauges.h"
#include "server/pressure/pressure_sample.h"
#include "server/pressure/queue_track.h"

namespace carillon {

// Thread-safe.
class QueueMonitor {
 public:
  struct Options {
    LaneObjectives objectives;
    absl::Duration interval = absl::Seconds(5);
    // From the beginning of one look to the next, when somebody asks.
    absl::Duration least_interval = absl::Seconds(1);
  };
  struct Deps {
    std::unique_ptr<TopologyAdmin> broker;
    std::shared_ptr<PressureStore> store;
    const Clock& clock;
    Metrics& metrics;
  };
  using SamplePtr = std::shared_ptr<const PressureSample>;
  using Done = absl::AnyInvocable<void(const SamplePtr&)>;

  QueueMonitor(Options options, Deps deps);
  ~QueueMonitor() { Stop(); }

  void Start();
  // Answers those who wait from the last look. Idempotent.
  void Stop();

  // The newest look; null before the first. Does not block.
  SamplePtr newest() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Tells of a look that begins after this call; of the newest if too many wait for one,
  // or when it stops. `done` runs once, on this thread or the monitor's; must not block.
  void WhenSampled(Done done) ABSL_LOCKS_EXCLUDED(mutex_);

  // How many messages waited, by queue, oldest first.
  using History = std::map<std::string, std::vector<std::pair<absl::Time, int64_t>>>;
  History HistorySince(absl::Time since) const ABSL_LOCKS_EXCLUDED(mutex_);

  // What the thread does each time. Owner thread only, while it does not run.
  void Look();

 private:
  // What processes have told of a queue, added up. They come and go; it never falls.
  struct Settled {
    int64_t messages = 0;
    int64_t items = 0;
    int64_t retrying = 0;
    std::optional<absl::Time> newest_taken;
  };

  void Run();
  // True if it is time for the next look.
  void AwaitNext(absl::Duration began) ABSL_LOCKS_EXCLUDED(mutex_);
  bool LookAtBroker(PressureSample& sample);
  void AddReports();
  void ForgetProcessesThatAreGone();
  void AddLook(QueueSample& queue, absl::Time now, bool fresh) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  LaneSample LookAtLane(Lane lane, const PressureSample& sample) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(std::shared_ptr<PressureSample> sample) ABSL_LOCKS_EXCLUDED(mutex_);
  void ForgetNowAndThen();

  const Options options_;
  const Deps deps_;
  PressureGauges gauges_;
  std::vector<std::string> work_queues_;

  // The monitor's thread only.
  PressureFacts facts_;
  bool facts_known_ = false;
  absl::Time facts_time_;
  std::map<std::pair<std::string, std::string>, std::pair<int64_t, int64_t>> told_;  // By queue and process.
  std::map<std::string, Settled> settled_;
  std::vector<QueueSample> last_seen_;
  bool broker_fails_ = false;
  bool store_fails_ = false;
  absl::Duration next_forgetting_;

  mutable absl::Mutex mutex_;
  std::map<std::string, QueueTrack> queue_tracks_ ABSL_GUARDED_BY(mutex_);
  std::map<Lane, QueueTrack> lane_tracks_ ABSL_GUARDED_BY(mutex_);
  SamplePtr newest_ ABSL_GUARDED_BY(mutex_);
  std::vector<Done> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace carillon
