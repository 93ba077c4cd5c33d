#include "server/api/record_receipts.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "server/api/contact_mask.h"

namespace carillon {
namespace {

constexpr size_t kMaxCodeBytes = 100;
// What a google.protobuf.Timestamp may hold, from 1970 on.
constexpr int64_t kLastSecond = 253'402'300'799;
constexpr int kNanosPerSecond = 1'000'000'000;

std::optional<Uuid> CheckedUuid(absl::string_view field, const std::string& text, Violations& violations) {
  const std::optional<Uuid> id = Uuid::Parse(text);
  if (!id.has_value()) violations.Add(field, "must be a UUID");
  return id;
}

std::optional<Channel> CheckedChannel(v1::Channel channel, bool required, Violations& violations) {
  if (channel == v1::CHANNEL_UNSPECIFIED && !required) return std::nullopt;
  if (channel == v1::CHANNEL_UNSPECIFIED || channel == v1::CHANNEL_IN_APP || !v1::Channel_IsValid(channel)) {
    violations.Add("channel", "must be an external channel");
    return std::nullopt;
  }
  return static_cast<Channel>(channel);
}

// Which delivery.
void PrepareName(const v1::Receipt& in, DeliveryReceipt& receipt, Violations& violations) {
  const bool by_ids = !in.notification_id().empty() || !in.delivery_id().empty();
  if (by_ids) {
    receipt.notification = CheckedUuid("notification_id", in.notification_id(), violations);
    receipt.delivery = CheckedUuid("delivery_id", in.delivery_id(), violations);
  }
  violations.CheckId("provider_message_id", in.provider_message_id(), /*required=*/!by_ids);
  receipt.provider_message_id = in.provider_message_id();
  receipt.channel = CheckedChannel(in.channel(), /*required=*/!by_ids, violations);
}

std::optional<DeliveryState> CheckedState(v1::DeliveryState state, Violations& violations) {
  if (state == v1::DELIVERY_STATE_DELIVERED) return DeliveryState::kDelivered;
  if (state == v1::DELIVERY_STATE_UNDELIVERED) return DeliveryState::kUndelivered;
  violations.Add("state", "must be DELIVERED or UNDELIVERED");
  return std::nullopt;
}

absl::Time CheckedTime(const v1::Receipt& in, absl::Time now, Violations& violations) {
  if (!in.has_time()) return now;
  const bool is_valid = in.time().seconds() >= 0 && in.time().seconds() <= kLastSecond && in.time().nanos() >= 0 &&
                        in.time().nanos() < kNanosPerSecond;
  if (!is_valid) {
    violations.Add("time", "must be a time from 1970 to 9999");
    return now;
  }
  return absl::FromUnixSeconds(in.time().seconds()) + absl::Nanoseconds(in.time().nanos());
}

// Words of others, which may have lines. No reason to refuse a whole batch.
std::string OnOneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return absl::ascii_iscntrl(c); }, ' ');
  return text;
}

std::string SuppressReason(const v1::Receipt& in, const std::string& error) {
  if (!in.suppress_address()) return "";
  if (!error.empty()) return error;
  return in.code().empty() ? "reported by a receipt" : absl::StrCat("reported by a receipt: ", in.code());
}

DeliveryReceipt Prepare(const v1::Receipt& in, AppId app, absl::Time now, Violations& violations) {
  DeliveryReceipt receipt{.app = app, .notification = {}, .delivery = {}};
  PrepareName(in, receipt, violations);
  receipt.state = CheckedState(in.state(), violations);
  violations.CheckText("code", in.code(), /*required=*/false, kMaxCodeBytes);
  const std::string error = OnOneLine(in.error());
  violations.CheckText("error", error, /*required=*/false, limits::kMaxErrorBytes);
  receipt.code = in.code();
  receipt.error = WithoutContacts(error);
  receipt.suppress_reason = SuppressReason(in, receipt.error);
  receipt.time = CheckedTime(in, now, violations);
  return receipt;
}

}  // namespace

std::vector<DeliveryReceipt> PrepareReceipts(const v1::RecordReceiptsRequest& request, AppId app, absl::Time now,
                                             Violations& violations) {
  if (request.receipts_size() < 1 || request.receipts_size() > limits::kMaxBatchSize) {
    violations.Add("receipts", absl::StrCat("must be 1 to ", limits::kMaxBatchSize));
    return {};
  }
  std::vector<DeliveryReceipt> receipts;
  receipts.reserve(request.receipts_size());
  for (int i = 0; i < request.receipts_size(); ++i) {
    Violations own(absl::StrCat("receipts[", i, "]."));
    receipts.push_back(Prepare(request.receipts(i), app, now, own));
    violations.Append(own);
  }
  return receipts;
}

}  // namespace carillon
