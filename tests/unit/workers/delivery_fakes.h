// Providers that answer as they are told, and what a delivery worker stands on, in
// memory.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "carillon/channels/directory.h"
#include "carillon/channels/link_tokens.h"
#include "carillon/channels/provider_settings.h"
#include "carillon/ports/monotonic.h"
#include "tests/kit/in_memory_provider_store.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/lane_fakes.h"
#include "workers/delivery/delivery_dispatcher.h"

namespace carillon::testing {

inline const AppId kTestApp(7);
inline constexpr char kTestType[] = "payment.receipt";
inline constexpr char kTestNumber[] = "+4915112345678";

inline Delivery TestDelivery(const std::string& recipient = "ann") {
  static int count = 0;
  const absl::Time time = absl::FromUnixSeconds(1'700'000'000) + absl::Milliseconds(++count);
  Delivery delivery{.id = NewUuid7(time), .channel = Channel::kSms, .device_id = "", .item = Item(recipient)};
  delivery.item.type = kTestType;
  delivery.item.lane = Lane::kPayment;
  return delivery;
}

// What is told of one provider, whoever its adapter belongs to by now.
struct ProviderScript {
  bool unusable = false;  // No adapter can be made.
  bool receipts = false;
  std::deque<SendResult> answers;  // Then: accepted.
  bool hangs = false;
  std::set<std::string> hangs_for;  // Recipients.

  int made = 0;
  std::vector<ProviderMessage> sent;
  std::vector<absl::Duration> timeouts;
  std::vector<std::function<void(SendResult)>> hanging;

  SendResult NextAnswer() {
    if (answers.empty()) return {.outcome = AttemptOutcome::kAccepted, .provider_message_id = "id-1"};
    SendResult answer = answers.front();
    answers.pop_front();
    return answer;
  }
  // Calls that hang end as the next answers say.
  void EndHanging() {
    hangs = false;
    hangs_for.clear();
    for (const auto& done : std::exchange(hanging, {})) done(NextAnswer());
  }
};

// Ends calls at once, unless they hang.
class ScriptedProvider final : public Provider {
 public:
  explicit ScriptedProvider(std::shared_ptr<ProviderScript> script) : script_(std::move(script)) { ++script_->made; }

  void Send(const ProviderMessage& message, absl::Duration timeout, std::function<void(SendResult)> done) override {
    script_->sent.push_back(message);
    script_->timeouts.push_back(timeout);
    if (script_->hangs || script_->hangs_for.contains(message.recipient_id)) {
      script_->hanging.push_back(std::move(done));
    } else {
      done(script_->NextAnswer());
    }
  }
  bool reports_receipts() const override { return script_->receipts; }

 private:
  const std::shared_ptr<ProviderScript> script_;
};

class CatalogueOfReceipts final : public CatalogStore {
 public:
  CatalogueOfReceipts() {
    type.app = kTestApp;
    type.name = kTestType;
    type.lane = Lane::kPayment;
    type.in_app.title = "You paid";
  }

  NotificationType type;
  std::vector<AppPolicy> policies;
  int64_t version = 1;

  absl::StatusOr<int64_t> Version() override { return version; }
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override { return policies; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override { return std::vector<NotificationType>{type}; }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }
};

class NoTemplates final : public TemplateStore {
 public:
  absl::StatusOr<std::vector<StoredTemplate>> LoadActive() override { return std::vector<StoredTemplate>(); }
  absl::StatusOr<std::vector<StoredTemplate>> Apply(absl::Span<const StoredTemplate>) override { return NotHere(); }
  absl::StatusOr<StoredTemplate> Activate(const TemplateKey&, int) override { return NotHere(); }
  absl::StatusOr<std::vector<StoredTemplate>> List(const ListQuery&) override { return NotHere(); }
  absl::StatusOr<Candidates> FindCandidates(AppId, const std::string&, Channel) override { return NotHere(); }

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not in these tests"); }
};

// An app with providers of SMS and one type of notification.
class Providers {
 public:
  std::map<std::string, std::shared_ptr<ProviderScript>> scripts;

  ProviderScript& operator[](const std::string& name) {
    std::shared_ptr<ProviderScript>& script = scripts[name];
    if (script == nullptr) script = std::make_shared<ProviderScript>();
    return *script;
  }

  // These, in this order; the directory knows it at once.
  void Set(const std::vector<v1::Provider>& wanted) {
    std::vector<StoredProvider> rows;
    for (const v1::Provider& one : wanted) rows.push_back(SealProvider(key, kTestApp, Channel::kSms, one));
    ASSERT_OK(store->Set(kTestApp, Channel::kSms, [&](auto) { return rows; }));
    ++catalogue_store->version;
    ASSERT_OK(directory.Refresh());
  }
  static v1::Provider Named(const std::string& name) {
    v1::Provider provider;
    provider.set_name(name);
    provider.mutable_twilio()->set_password("secret");
    return provider;
  }

  ProviderSlots::Maker Maker() {
    return [this](const ConfiguredProvider& config) -> absl::StatusOr<std::unique_ptr<Provider>> {
      if ((*this)[config.name].unusable) return absl::InvalidArgumentError("its key is none");
      return std::make_unique<ScriptedProvider>(scripts[config.name]);
    };
  }

  const MasterKey key = *MasterKey::FromHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  const std::shared_ptr<CatalogueOfReceipts> catalogue_store = std::make_shared<CatalogueOfReceipts>();
  const std::shared_ptr<InMemoryProviderStore> store = std::make_shared<InMemoryProviderStore>();
  ChannelDirectory directory{
      {.catalogue = catalogue_store, .providers = store, .templates = std::make_shared<NoTemplates>(), .key = key}};
  LinkTokens links{key, "https://carillon.example"};
  Catalogue catalogue{catalogue_store};
  MessageBuilder builder{{.catalogue = catalogue, .directory = directory, .links = links}};
};

}  // namespace carillon::testing
