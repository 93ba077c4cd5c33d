// Follows the live streams of all users of a run and keeps what came.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/bench/raw_sender.h"
#include "client/bench/verify.h"
#include "client/carillon/client.h"

namespace carillon::bench {

// What came on one user's stream, in the order in which it came.
struct StreamRecord {
  struct Arrival {
    std::string notification_id;
    int64_t seq = 0;
    absl::Duration arrived;  // By MonotonicNow.
  };
  std::vector<Arrival> arrivals;
  // What the server told us to pass over with resume_required.
  std::vector<SeqRange> skipped;
};

// Thread-safe.
class LiveStreams {
 public:
  // Subscribes at once, with `client`, which must outlive it. With `raw` the
  // streams are read through that, at less expense, until they end: from there on
  // by `client`. It must outlive this too, or end its streams before.
  LiveStreams(Client& client, const std::vector<std::string>& user_ids, RawSender* raw = nullptr);
  // Ends the streams.
  ~LiveStreams();

  // Waits until each stream has passed its user's last seq. False: it took too long.
  bool WaitUntilPassed(absl::flat_hash_map<std::string, int64_t> last_seqs, absl::Duration timeout);

  // Waits until these notifications have arrived, whoever they are for, and tells
  // when each did; after the timeout, of those that have.
  absl::flat_hash_map<std::string, absl::Duration> WaitForArrivals(absl::flat_hash_set<std::string> notification_ids,
                                                                   absl::Duration timeout);

  // When the newest item arrived, by MonotonicNow.
  absl::Duration last_arrival() const;

  absl::flat_hash_map<std::string, StreamRecord> records() const;
  // How often a stream broke.
  int64_t disconnects() const;
  // The first one that ended for good; OK if none did.
  absl::Status ended() const;

 private:
  FeedSubscription::Callbacks CallbacksFor(const std::string& user_id);
  RawSender::StreamCallbacks RawCallbacksFor(const std::string& user_id);
  void Subscribe(const std::string& user_id);
  void TakeArrivals(absl::flat_hash_map<std::string, size_t>& looked_at, absl::flat_hash_set<std::string>& missing,
                    absl::flat_hash_map<std::string, absl::Duration>& arrivals) const;
  void DropPassed(absl::flat_hash_map<std::string, int64_t>& last_seqs) const;
  void OnItem(const std::string& user_id, absl::string_view notification_id, int64_t seq);
  void OnDisconnect(const absl::Status& status, bool for_good);
  int64_t OnResume(const std::string& user_id, int64_t last_seq);

  Client& client_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, StreamRecord> records_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_arrival_ ABSL_GUARDED_BY(mutex_);
  int64_t disconnects_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status ended_ ABSL_GUARDED_BY(mutex_);
  // Of its own, as making one may call back.
  absl::Mutex subscriptions_mutex_;
  // Last, so that the callbacks end first.
  std::vector<std::unique_ptr<FeedSubscription>> subscriptions_ ABSL_GUARDED_BY(subscriptions_mutex_);
};

}  // namespace carillon::bench
