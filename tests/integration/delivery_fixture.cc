#include "tests/integration/delivery_fixture.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace carillon::testing {
namespace {

constexpr int kBatch = 500;

// Of people and apps: all tests share the sandbox.
int NextNumber() {
  static std::atomic<int> last = 0;
  return ++last;
}

v1::SendNotificationRequest MakeRequest(const std::string& type, const Person& person,
                                        const std::vector<v1::Channel>& channels) {
  // The key lets the client repeat what may not have arrived.
  v1::SendNotificationRequest request = Request(type, person.user, absl::StrCat("request-", NextNumber()));
  for (const v1::Channel channel : channels) request.add_channels(channel);
  auto& fields = *request.mutable_data()->mutable_fields();
  fields["title"].set_string_value("News");
  fields["code"].set_string_value("123456");
  fields["amount"].set_string_value("12.50");
  fields["currency"].set_string_value("EUR");
  return request;
}

}  // namespace

DeliveryApp::DeliveryApp(RunningStack& stack)
    : DeliveryApp(stack, stack.CreateApp(absl::StrCat("deliveries-", NextNumber()))) {}

DeliveryApp::DeliveryApp(RunningStack& stack, const nlohmann::json& created)
    : stack_(stack),
      key_(created["app"]["app_key"]),
      secret_(created["app_secret"]),
      client_({.address = stack.address(), .app_key = key_, .app_secret = secret_}) {}

void DeliveryApp::SetProviders(v1::Channel channel, const std::vector<nlohmann::json>& providers) {
  const nlohmann::json json = {{"channel", v1::Channel_Name(channel)}, {"providers", providers}};
  v1::SetProvidersRequest request;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json.dump(), &request).ok()) << json;
  ASSERT_OK(client_.SetProviders(request));
}

v1::ProviderStatus DeliveryApp::GetProvider(v1::Channel channel, const std::string& name) {
  v1::ListProvidersRequest request;
  request.set_channel(channel);
  const auto listed = client_.ListProviders(request);
  EXPECT_OK(listed);
  if (!listed.ok()) return {};
  for (const v1::ProviderStatus& status : listed->providers()) {
    if (status.provider().name() == name) return status;
  }
  ADD_FAILURE() << "no provider " << name;
  return {};
}

Person DeliveryApp::AddPerson(const std::string& locale) {
  const int number = NextNumber();
  const Person person{absl::StrCat("user-", number), absl::StrCat("user-", number, "@example.test"),
                      absl::StrFormat("+49151%08d", 10'000'000 + number)};
  v1::UpdateRecipientRequest request;
  request.mutable_recipient()->set_user_id(person.user);
  request.mutable_recipient()->set_email(person.email);
  request.mutable_recipient()->set_phone(person.phone);
  request.mutable_recipient()->set_locale(locale);
  EXPECT_OK(client_.UpdateRecipient(request));
  return person;
}

std::string DeliveryApp::AddDevice(const Person& person, v1::Channel channel, const std::string& token) {
  v1::RegisterDeviceRequest request;
  request.set_user_id(person.user);
  request.mutable_device()->set_channel(channel);
  request.mutable_device()->set_token(token);
  const auto registered = client_.RegisterDevice(request);
  EXPECT_OK(registered);
  return registered.ok() ? registered->device().device_id() : "";
}

std::string DeliveryApp::Send(const std::string& type, const Person& person, const std::vector<v1::Channel>& channels,
                              absl::Duration ttl) {
  v1::SendNotificationRequest request = MakeRequest(type, person, channels);
  if (ttl > absl::ZeroDuration()) request.mutable_ttl()->set_seconds(absl::ToInt64Seconds(ttl));
  const auto sent = client_.SendNotification(request);
  EXPECT_OK(sent);
  return sent.ok() ? sent->notification().notification_id() : "";
}

std::vector<std::string> DeliveryApp::SendToAll(const std::string& type, const std::vector<Person>& people,
                                                const std::vector<v1::Channel>& channels) {
  std::vector<std::string> ids;
  v1::BatchSendNotificationsRequest batch;
  for (size_t i = 0; i < people.size(); ++i) {
    *batch.add_requests() = MakeRequest(type, people[i], channels);
    if (batch.requests_size() < kBatch && i + 1 < people.size()) continue;
    const auto sent = client_.BatchSendNotifications(batch);
    EXPECT_OK(sent);
    if (!sent.ok()) break;
    for (const auto& response : sent->responses()) ids.push_back(response.notification().notification_id());
    batch.Clear();
  }
  return ids;
}

v1::Notification DeliveryApp::Get(const std::string& id) {
  v1::GetNotificationRequest request;
  request.set_notification_id(id);
  const auto got = client_.GetNotification(request);
  EXPECT_OK(got);
  return got.ok() ? got->notification() : v1::Notification();
}

v1::Delivery DeliveryApp::Delivery(const std::string& id, v1::Channel channel) {
  const v1::Notification notification = Get(id);
  const auto on_channel = [channel](const v1::Delivery& delivery) { return delivery.channel() == channel; };
  const auto& all = notification.deliveries();
  EXPECT_LE(std::count_if(all.begin(), all.end(), on_channel), 1);
  const auto found = std::find_if(all.begin(), all.end(), on_channel);
  return found == all.end() ? v1::Delivery() : *found;
}

bool DeliveryApp::WaitFor(const std::string& id, v1::Channel channel, v1::DeliveryState state, absl::Duration limit) {
  return testing::WaitFor([&] { return Delivery(id, channel).state() == state; }, limit);
}

bool DeliveryApp::WaitForOutcomes(const std::string& id, v1::Channel channel, const std::string& outcomes) {
  return testing::WaitFor([&] { return Outcomes(Delivery(id, channel)) == outcomes; });
}

int DeliveryApp::CountDeliveries(const std::string& condition) const {
  int count = -1;
  EXPECT_TRUE(absl::SimpleAtoi(
      stack_.database().Query(absl::StrCat("SELECT count(*) FROM deliveries WHERE app_id = (SELECT app_id FROM apps"
                                           " WHERE app_key = '",
                                           key_, "') AND ", condition)),
      &count));
  return count;
}

std::vector<v1::DeadLetter> DeliveryApp::DeadLetters() {
  const auto listed = client_.ListDeadLetters({});
  EXPECT_OK(listed);
  if (!listed.ok()) return {};
  return {listed->dead_letters().begin(), listed->dead_letters().end()};
}

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::Time ArrivalTime(const nlohmann::json& message) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, message["time"].get<std::string>(), &time, &error)) << error;
  return time;
}

std::vector<nlohmann::json> Sms(const PrivateSandbox& sandbox, const std::string& provider, const Person& person) {
  return sandbox.Messages(provider, provider == "vonage" ? person.phone.substr(1) : person.phone);
}

std::string Outcomes(const v1::Delivery& delivery) {
  return absl::StrJoin(delivery.attempts(), ",",
                       [](std::string* text, const v1::DeliveryAttempt& attempt) { text->append(attempt.outcome()); });
}

PrivateSandbox* Deliveries::sandbox_ = nullptr;
RunningStack* Deliveries::stack_ = nullptr;

void Deliveries::StartSystem(RunningStackOptions options) {
  sandbox_ = new PrivateSandbox();
  options.external_channels = true;
  stack_ = new RunningStack(options);
}

void Deliveries::TearDownTestSuite() {
  delete stack_;
  delete sandbox_;
  stack_ = nullptr;
  sandbox_ = nullptr;
}

}  // namespace carillon::testing
