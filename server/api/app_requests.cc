#include "server/api/app_requests.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/locale.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using google::protobuf::Timestamp;

void CheckRange(absl::string_view field, int64_t value, int64_t most, Violations& violations) {
  if (value < 0 || value > most) violations.Add(field, absl::StrCat("must be 0 to ", most, "; 0: no limit"));
}

// A burst that its rate does not allow is named; a rate that is wrong is named by itself.
void CheckBurst(absl::string_view field, int64_t burst, int64_t rate, Violations& violations) {
  if (burst == 0 || rate < 0 || rate > limits::kMaxSendRate) return;
  if (rate == 0) return violations.Add(field, "must be 0 without a rate");
  const int64_t most = rate * limits::kMaxBurstSeconds;
  if (burst < rate || burst > most) violations.Add(field, absl::StrCat("must be 0, or ", rate, " to ", most));
}

SendLimits CheckLimits(const v1::SendLimits& in, Violations& violations) {
  CheckRange("limits.app_rate", in.app_rate(), limits::kMaxSendRate, violations);
  CheckBurst("limits.app_burst", in.app_burst(), in.app_rate(), violations);
  CheckRange("limits.sender_rate", in.sender_rate(), limits::kMaxSendRate, violations);
  CheckBurst("limits.sender_burst", in.sender_burst(), in.sender_rate(), violations);
  CheckRange("limits.runaway_per_minute", in.runaway_per_minute(), limits::kMaxRunawayPerMinute, violations);
  return {.app_rate = in.app_rate(),
          .app_burst = in.app_burst(),
          .sender_rate = in.sender_rate(),
          .sender_burst = in.sender_burst(),
          .runaway_per_minute = in.runaway_per_minute()};
}

}  // namespace

AppChanges CheckAppChanges(const v1::UpdateAppRequest& request, Violations& violations) {
  AppChanges changes;
  if (request.has_shared_audience_threshold()) {
    changes.shared_audience_threshold = request.shared_audience_threshold().value();
    if (request.shared_audience_threshold().value() < 0) {
      violations.Add("shared_audience_threshold", "must be 0 or more");
    }
  }
  if (!request.default_locale().empty()) {
    const std::optional<std::string> locale = CanonicalLocale(request.default_locale());
    if (!locale.has_value()) violations.Add("default_locale", "must be a BCP 47 language tag such as es or es-MX");
    changes.default_locale = locale.value_or("");
  }
  if (request.has_limits()) changes.limits = CheckLimits(request.limits(), violations);
  changes.make_sandbox = request.sandbox();
  return changes;
}

void ToProto(const App& app, absl::Time now, v1::App* out) {
  out->set_app_id(absl::StrCat(app.id.value()));
  out->set_name(app.name);
  out->set_app_key(app.key);
  for (const std::string& scope : app.scopes) out->add_scopes(scope);
  *out->mutable_create_time() = ToTimestamp(app.create_time);
  out->set_shared_audience_threshold(app.shared_audience_threshold);
  out->set_default_locale(app.default_locale);
  if (app.limits != SendLimits()) {
    v1::SendLimits& limits = *out->mutable_limits();
    limits.set_app_rate(app.limits.app_rate);
    limits.set_app_burst(app.limits.app_burst);
    limits.set_sender_rate(app.limits.sender_rate);
    limits.set_sender_burst(app.limits.sender_burst);
    limits.set_runaway_per_minute(app.limits.runaway_per_minute);
  }
  out->set_sandbox(app.sandbox);
  if (app.sandbox) *out->mutable_app_time() = ToTimestamp(now + app.clock_offset);
}

void ToProto(const TrippedSender& sender, v1::TrippedSender* out) {
  out->set_app_key(sender.app_key);
  out->set_sender_id(sender.sender_id);
  out->set_count(sender.count);
  out->set_limit(sender.limit);
  *out->mutable_trip_time() = ToTimestamp(sender.trip_time);
}

}  // namespace carillon
