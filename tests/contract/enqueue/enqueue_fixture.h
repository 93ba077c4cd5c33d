// What the tests of enqueueing share: an app, the catalogue as the door knows it, and a
// caller's own connection.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/session.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/api/send_request.h"
#include "tests/kit/test_database.h"

namespace carillon::testing {

class EnqueueTest : public ::testing::Test {
 protected:
  // As enqueue_notifications answers.
  struct Enqueued {
    int position = 0;
    std::string id;
    bool duplicate = false;
  };

  static void SetUpTestSuite();
  static void TearDownTestSuite();
  static std::string Query(const std::string& statements) { return database_->Query(statements); }

  EnqueueTest();

  // With the session settings of nobody in particular.
  std::unique_ptr<pqxx::connection> Connect() const { return std::make_unique<pqxx::connection>(database_->url()); }
  static std::vector<Enqueued> Enqueue(pqxx::transaction_base& transaction, const std::string& app_key,
                                       const std::string& requests);
  // In a transaction of its own; `requests` is a JSON array.
  std::vector<Enqueued> Enqueue(const std::string& requests) const;
  // One request, a JSON object; its id.
  std::string EnqueueOne(const std::string& request) const;
  // SQLSTATE and message; empty if it was taken.
  std::string Refusal(const std::string& requests) const;

  SendOrigin Origin() const;
  // What the door says of the same request: violations, or empty.
  std::string DoorRefusal(const std::string& request) const;
  // As the door accepts it, now.
  NewNotification AtTheDoor(const std::string& request) const;
  static v1::SendNotificationRequest Parse(const std::string& request);

  // Rows of this test's app.
  std::string Count(const std::string& table) const;

  static TestDatabase* database_;
  static int apps_;
  const std::string app_key_ = "key-" + std::to_string(++apps_);
  AppId app_;
  std::shared_ptr<PgPool> pool_;
  std::unique_ptr<Catalogue> catalogue_;
  std::unique_ptr<PostgresNotificationStore> store_;
};

}  // namespace carillon::testing
