#include "tests/contract/postgres/postgres_fixture.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/notification_store.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

std::unique_ptr<TestDatabase>& SharedDatabase() {
  static auto* const database = new std::unique_ptr<TestDatabase>();
  return *database;
}

}  // namespace

void PostgresTest::SetUpTestSuite() {
  SharedDatabase() = std::make_unique<TestDatabase>();
  // The template it was copied from may be days old.
  Query("SELECT ensure_slices(now() - interval '3 days', now() + interval '1 day')");
}
void PostgresTest::TearDownTestSuite() { SharedDatabase().reset(); }

TestDatabase& PostgresTest::database() { return *SharedDatabase(); }
// Patient: what a test waits for on purpose must not end because the machine is busy.
PgOptions PostgresTest::Options() {
  return {.url = database().url(),
          .application_name = "contract_test",
          .connect_timeout = absl::Seconds(30),
          .statement_timeout = absl::Seconds(60),
          .lend_timeout = absl::Seconds(60),
          .lock_timeout = absl::Seconds(60)};
}
std::shared_ptr<PgPool> PostgresTest::MakePool(int size) { return std::make_shared<PgPool>(Options(), size); }

void PostgresTest::AcceptAll(absl::Span<const NewNotification> items) {
  PostgresNotificationStore store(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const std::vector<AcceptOutcome> outcomes, store.Accept(items, /*all_or_nothing=*/true));
  ASSERT_EQ(outcomes.size(), items.size());
}

AppId NewApp() {
  static std::atomic<int64_t> count = 1000;
  return AppId(++count);
}

NewNotification MakeNew(AppId app, const std::string& recipient) {
  NewNotification item;
  item.notification.app = app;
  item.notification.type = "like";
  item.notification.recipient = RecipientId(recipient);
  item.notification.channels = {Channel::kInApp};
  item.exchange = "carillon.direct";
  item.routing_key = "social.like";
  item.envelope = "envelope";
  return At(item, absl::Now());
}

NewNotification MakeKeyed(AppId app, const std::string& key, char payload) {
  NewNotification item = MakeNew(app);
  item.idempotency_key = key;
  item.payload_hash = std::string(32, payload);
  return item;
}

NewNotification At(NewNotification item, absl::Time time) {
  // As the database keeps it.
  item.notification.create_time = absl::FromUnixMicros(absl::ToUnixMicros(time));
  item.notification.id = NewUuid7(time);
  return item;
}

FeedDelivery DeliveryOf(const NewNotification& item) {
  const Notification& n = item.notification;
  FeedDelivery delivery{.key = {n.app, n.recipient}, .retention_days = n.retention_days, .detail = {}, .item = {}};
  delivery.item.id = n.id;
  delivery.item.type = n.type;
  delivery.item.title = "title";
  delivery.item.create_time = n.create_time;
  return delivery;
}

std::vector<FeedDelivery> DeliveriesOf(absl::Span<const NewNotification> items) {
  std::vector<FeedDelivery> deliveries;
  for (const NewNotification& item : items) deliveries.push_back(DeliveryOf(item));
  return deliveries;
}

void RunThreads(int count, absl::FunctionRef<void(int)> body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([body, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace carillon::testing
