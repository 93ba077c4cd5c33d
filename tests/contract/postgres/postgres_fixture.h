// What the tests of the PostgreSQL adapter share: a database, values, threads.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "carillon/ports/feed_store.h"
#include "carillon/ports/notification_store.h"
#include "carillon/postgres/session.h"
#include "tests/kit/test_database.h"

namespace carillon::testing {

// The tests of a suite share a database and keep apart by their apps; those that
// look at whole tables empty them first.
class PostgresTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();

  static TestDatabase& database();
  static PgOptions Options();
  static std::shared_ptr<PgPool> MakePool(int size);

  // The first column of the first row; see TestDatabase::Query.
  static std::string Query(const std::string& statements) { return database().Query(statements); }
  static void EmptyOutbox() { Query("TRUNCATE outbox"); }

  // Accepts all of them; the test fails if one is refused.
  static void AcceptAll(absl::Span<const NewNotification> items);
  static void AcceptOne(const NewNotification& item) { AcceptAll({&item, 1}); }
};

// An app that no other test uses.
AppId NewApp();

// A notification of the social lane, made now, without a key.
NewNotification MakeNew(AppId app, const std::string& recipient = "ann");
// The same with an idempotency key; payloads differ by their hash.
NewNotification MakeKeyed(AppId app, const std::string& key, char payload = 'p');
// Gives it an id of this moment.
NewNotification At(NewNotification item, absl::Time time);

// The delivery of an accepted notification.
FeedDelivery DeliveryOf(const NewNotification& item);
std::vector<FeedDelivery> DeliveriesOf(absl::Span<const NewNotification> items);

// Runs the body in so many threads at once and waits for all.
void RunThreads(int count, absl::FunctionRef<void(int)> body);

}  // namespace carillon::testing
