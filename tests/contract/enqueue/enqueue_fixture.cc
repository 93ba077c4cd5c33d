#include "tests/contract/enqueue/enqueue_fixture.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/catalog_store.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {

TestDatabase* EnqueueTest::database_ = nullptr;
int EnqueueTest::apps_ = 0;

void EnqueueTest::SetUpTestSuite() {
  database_ = new TestDatabase();
  // The template it was copied from may be days old.
  Query("SELECT ensure_slices(now() - interval '1 day', now() + interval '1 day')");
}

void EnqueueTest::TearDownTestSuite() {
  delete database_;
  database_ = nullptr;
}

EnqueueTest::EnqueueTest() {
  int64_t id = 0;
  EXPECT_TRUE(absl::SimpleAtoi(Query(absl::StrCat("INSERT INTO apps (name, app_key, scopes) VALUES ('", app_key_,
                                                  "', '", app_key_, "', '{send}') RETURNING app_id")),
                               &id));
  app_ = AppId(id);
  pool_ = std::make_shared<PgPool>(PgOptions{.url = database_->url(), .application_name = "enqueue_test"}, 2);
  catalogue_ = std::make_unique<Catalogue>(std::make_shared<PostgresCatalogStore>(pool_));
  EXPECT_OK(catalogue_->Refresh());
  store_ = std::make_unique<PostgresNotificationStore>(pool_);
}

std::vector<EnqueueTest::Enqueued> EnqueueTest::Enqueue(pqxx::transaction_base& transaction, const std::string& app_key,
                                                        const std::string& requests) {
  std::vector<Enqueued> answers;
  for (const auto& row : transaction.exec_params(
           "SELECT position, notification_id, duplicate FROM carillon.enqueue_notifications($1, $2)", app_key,
           requests)) {
    answers.push_back({row[0].as<int>(), row[1].as<std::string>(), row[2].as<bool>()});
  }
  return answers;
}

std::vector<EnqueueTest::Enqueued> EnqueueTest::Enqueue(const std::string& requests) const {
  const auto connection = Connect();
  pqxx::work transaction(*connection);
  std::vector<Enqueued> answers = Enqueue(transaction, app_key_, requests);
  transaction.commit();
  return answers;
}

std::string EnqueueTest::EnqueueOne(const std::string& request) const {
  return Enqueue(absl::StrCat("[", request, "]")).at(0).id;
}

std::string EnqueueTest::Refusal(const std::string& requests) const {
  const auto connection = Connect();
  pqxx::work transaction(*connection);
  try {
    Enqueue(transaction, app_key_, requests);
    return "";
  } catch (const pqxx::sql_error& error) {
    const std::string text = error.what();
    return absl::StrCat(error.sqlstate(), " ", text.substr(0, text.find('\n')));
  }
}

v1::SendNotificationRequest EnqueueTest::Parse(const std::string& request) {
  v1::SendNotificationRequest parsed;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(request, &parsed).ok()) << request;
  return parsed;
}

SendOrigin EnqueueTest::Origin() const {
  return {.app = app_, .time = absl::Now(), .traceparent = "", .clock_offset = absl::ZeroDuration()};
}

std::string EnqueueTest::DoorRefusal(const std::string& request) const {
  Violations violations("requests[0].");
  PrepareSend(Parse(request), Origin(), *catalogue_, violations);
  return std::string(violations.ToStatus().message());
}

NewNotification EnqueueTest::AtTheDoor(const std::string& request) const {
  Violations violations;
  NewNotification prepared = PrepareSend(Parse(request), Origin(), *catalogue_, violations);
  EXPECT_OK(violations.ToStatus());
  return prepared;
}

std::string EnqueueTest::Count(const std::string& table) const {
  return Query(absl::StrCat("SELECT count(*) FROM ", table, " WHERE app_id = ", app_.value()));
}

}  // namespace carillon::testing
