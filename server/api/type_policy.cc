#include "server/api/type_policy.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration out;
  out.set_seconds(absl::ToInt64Seconds(duration));
  return out;
}

// Windows are kept in whole seconds.
absl::Duration CheckWindow(absl::string_view field, const google::protobuf::Duration& window, Violations& violations) {
  const bool fits = window.nanos() == 0 && window.seconds() >= absl::ToInt64Seconds(limits::kMinPolicyWindow) &&
                    window.seconds() <= absl::ToInt64Seconds(limits::kMaxPolicyWindow);
  if (fits) return absl::Seconds(window.seconds());
  violations.Add(field, "must be 1 s to 31 days, in whole seconds");
  return limits::kMinPolicyWindow;
}

Cap CheckCap(const v1::Cap& in, Violations& violations) {
  if (in.channel() == v1::CHANNEL_IN_APP || in.channel() == v1::CHANNEL_UNSPECIFIED ||
      !v1::Channel_IsValid(in.channel())) {
    violations.Add("channel", "must be an external channel: CHANNEL_EMAIL, ...");
  }
  if (in.limit() < 1 || in.limit() > limits::kMaxCapLimit) {
    violations.Add("limit", absl::StrCat("must be 1 to ", limits::kMaxCapLimit));
  }
  return {.channel = static_cast<Channel>(in.channel()),
          .limit = in.limit(),
          .window = CheckWindow("window", in.window(), violations)};
}

std::vector<Cap> CheckCaps(const v1::Type& in, Lane lane, Violations& violations) {
  if (in.caps().empty()) return {};
  if (in.critical()) violations.Add("caps", "must not be given for a critical type");
  if (lane == Lane::kPayment || lane == Lane::kOtp) violations.Add("caps", "must not be given for payment and otp");
  if (in.caps_size() > limits::kMaxCaps) {
    violations.Add("caps", absl::StrCat("must be at most ", limits::kMaxCaps));
    return {};
  }
  std::vector<Cap> caps;
  for (int i = 0; i < in.caps_size(); ++i) {
    Violations own = violations.Below(absl::StrCat("caps[", i, "]."));
    caps.push_back(CheckCap(in.caps(i), own));
    violations.Append(own);
  }
  return caps;
}

std::optional<Overflow> OverflowOf(v1::Overflow overflow) {
  switch (overflow) {
    case v1::OVERFLOW_DROP:
      return Overflow::kDrop;
    case v1::OVERFLOW_HOLD:
      return Overflow::kHold;
    case v1::OVERFLOW_DIGEST:
      return Overflow::kDigest;
    case v1::OVERFLOW_IN_APP_ONLY:
      return Overflow::kInAppOnly;
    default:
      return std::nullopt;
  }
}

Overflow CheckOverflow(absl::string_view field, v1::Overflow in, Overflow otherwise, Violations& violations) {
  if (in == v1::OVERFLOW_UNSPECIFIED) return otherwise;
  const std::optional<Overflow> overflow = OverflowOf(in);
  if (!overflow.has_value()) {
    violations.Add(field, "must be OVERFLOW_DROP, OVERFLOW_HOLD, OVERFLOW_DIGEST or OVERFLOW_IN_APP_ONLY, or absent");
  }
  return overflow.value_or(otherwise);
}

v1::Overflow ToProto(Overflow overflow) {
  switch (overflow) {
    case Overflow::kDrop:
      return v1::OVERFLOW_DROP;
    case Overflow::kHold:
      return v1::OVERFLOW_HOLD;
    case Overflow::kDigest:
      return v1::OVERFLOW_DIGEST;
    case Overflow::kInAppOnly:
      return v1::OVERFLOW_IN_APP_ONLY;
  }
  return v1::OVERFLOW_UNSPECIFIED;
}

Aggregation CheckAggregation(const v1::Aggregation& in, Lane lane, Violations& violations) {
  if (lane != Lane::kSocial) violations.Add("aggregation", "must not be given but for WEIGHT_SOCIAL");
  Aggregation aggregation{.window = CheckWindow("aggregation.window", in.window(), violations),
                          .sliding = in.sliding()};
  if (in.sliding() != in.has_max_window()) {
    violations.Add("aggregation.max_window", in.sliding() ? "is required if sliding" : "must be absent unless sliding");
  } else if (in.sliding()) {
    aggregation.max_window = CheckWindow("aggregation.max_window", in.max_window(), violations);
    if (in.max_window().seconds() < in.window().seconds()) {
      violations.Add("aggregation.max_window", "must not be shorter than window");
    }
  }
  return aggregation;
}

}  // namespace

DeliveryPolicy CheckPolicy(const v1::Type& in, Lane lane, Violations& violations) {
  DeliveryPolicy policy{.category = in.category(), .required = in.required()};
  if (!in.category().empty()) violations.CheckName("category", in.category(), limits::kMaxTypeNameBytes);
  policy.caps = CheckCaps(in, lane, violations);
  policy.cap_overflow = CheckOverflow("cap_overflow", in.cap_overflow(), policy.cap_overflow, violations);
  policy.quiet_overflow = CheckOverflow("quiet_overflow", in.quiet_overflow(), policy.quiet_overflow, violations);
  if (in.has_aggregation()) policy.aggregation = CheckAggregation(in.aggregation(), lane, violations);
  return policy;
}

void PolicyToProto(const DeliveryPolicy& policy, v1::Type* out) {
  out->set_category(policy.category);
  out->set_required(policy.required);
  for (const Cap& cap : policy.caps) {
    v1::Cap& added = *out->add_caps();
    added.set_channel(static_cast<v1::Channel>(cap.channel));
    added.set_limit(cap.limit);
    *added.mutable_window() = ToProto(cap.window);
  }
  out->set_cap_overflow(ToProto(policy.cap_overflow));
  out->set_quiet_overflow(ToProto(policy.quiet_overflow));
  if (!policy.aggregation.has_value()) return;
  *out->mutable_aggregation()->mutable_window() = ToProto(policy.aggregation->window);
  out->mutable_aggregation()->set_sliding(policy.aggregation->sliding);
  if (policy.aggregation->sliding) {
    *out->mutable_aggregation()->mutable_max_window() = ToProto(policy.aggregation->max_window);
  }
}

}  // namespace carillon
