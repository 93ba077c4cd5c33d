#include "client/bench/workload.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace carillon::bench {
namespace {

constexpr uint64_t kActors = 1'000;

google::protobuf::Struct TemplateData() {
  google::protobuf::Struct data;
  const std::pair<const char*, const char*> values[] = {
      {"actor_name", "Ada Lovelace"},
      {"excerpt", "A walk by the sea"},
      {"text", "See you at nine?"},
      {"title", "20 % off"},
      {"link", "https://example.org/offers"},
      {"code", "428 193"},
      {"amount", "12.50"},
      {"currency", "EUR"},
  };
  for (const auto& [name, value] : values) (*data.mutable_fields())[name].set_string_value(value);
  return data;
}

}  // namespace

Workload::Workload(Options options) : options_(std::move(options)), random_(options_.seed), data_(TemplateData()) {}

std::vector<v1::SendNotificationRequest> Workload::Next(int most) {
  std::vector<v1::SendNotificationRequest> requests;
  const int64_t size = std::min<int64_t>(most, options_.count - made_);
  for (int64_t i = 0; i < size; ++i) requests.push_back(NextOne());
  return requests;
}

v1::SendNotificationRequest Workload::NextOne() {
  v1::SendNotificationRequest request;
  request.set_type(options_.types[random_.Below(options_.types.size())]);
  request.set_user_id(options_.user_ids[random_.Below(options_.user_ids.size())]);
  request.set_actor_id(absl::StrCat("actor-", random_.Below(kActors)));
  request.set_object_id(absl::StrCat("object-", made_));
  request.set_idempotency_key(absl::StrCat(options_.run_name, "-send-", made_));
  *request.mutable_data() = data_;
  ++made_;
  return request;
}

}  // namespace carillon::bench
