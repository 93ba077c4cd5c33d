#include "server/api/template_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/wire/struct_json.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const AppId kApp(7);

class OneType final : public CatalogStore {
 public:
  absl::StatusOr<int64_t> Version() override { return 1; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override {
    return std::vector<NotificationType>{{.app = kApp,
                                          .name = "receipt",
                                          .in_app = {.title = "Paid", .body = "{{data.amount}}"},
                                          .dedupe_key = "",
                                          .unsubscribable = true}};
  }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }
};

// Remembers what it was asked, and answers with what it was given.
class RecordingTemplateStore final : public TemplateStore {
 public:
  absl::StatusOr<std::vector<StoredTemplate>> Apply(absl::Span<const StoredTemplate> templates) override {
    applied.assign(templates.begin(), templates.end());
    return applied;
  }
  absl::StatusOr<StoredTemplate> Activate(const TemplateKey& key, int version) override {
    activated = key;
    return StoredTemplate{
        .app = key.app, .type = key.type, .channel = key.channel, .locale = key.locale, .version = version};
  }
  absl::StatusOr<std::vector<StoredTemplate>> List(const ListQuery& query) override {
    queries.push_back(query);
    return std::vector<StoredTemplate>(stored.begin(), stored.begin() + std::min<int64_t>(query.limit, stored.size()));
  }
  absl::StatusOr<std::vector<StoredTemplate>> LoadActive() override { return stored; }
  absl::StatusOr<Candidates> FindCandidates(AppId, const std::string&, Channel) override {
    return Candidates{.templates = stored, .default_locale = "de"};
  }

  std::vector<StoredTemplate> stored;
  std::vector<StoredTemplate> applied;
  std::vector<ListQuery> queries;
  TemplateKey activated;
};

v1::Template Sms(const std::string& locale, const std::string& text) {
  v1::Template sms;
  sms.set_type("receipt");
  sms.set_channel(v1::CHANNEL_SMS);
  sms.set_locale(locale);
  sms.mutable_sms()->set_text(text);
  return sms;
}

StoredTemplate Stored(const std::string& locale, const std::string& text) {
  v1::Template content;
  content.mutable_sms()->set_text(text);
  return {.app = kApp,
          .type = "receipt",
          .channel = Channel::kSms,
          .locale = locale,
          .version = 4,
          .active = true,
          .create_time = {},
          .content = content.SerializeAsString()};
}

class TemplateRequestsTest : public ::testing::Test {
 protected:
  TemplateRequestsTest() { EXPECT_OK(catalogue_.Refresh()); }

  absl::Status Apply(const std::vector<v1::Template>& templates) {
    v1::ApplyTemplatesRequest request;
    for (const v1::Template& wanted : templates) *request.add_templates() = wanted;
    return requests_.Apply(kApp, request, &applied_);
  }
  static v1::PreviewTemplateRequest Active(const std::string& locale) {
    v1::PreviewTemplateRequest request;
    request.set_type("receipt");
    request.set_channel(v1::CHANNEL_SMS);
    request.set_locale(locale);
    JsonToStruct(R"({"amount":"5 EUR"})", request.mutable_data());
    return request;
  }
  absl::StatusOr<v1::PreviewTemplateResponse> Preview(const v1::PreviewTemplateRequest& request) {
    v1::PreviewTemplateResponse response;
    const absl::Status status = requests_.Preview(kApp, request, &response);
    if (!status.ok()) return status;
    return response;
  }

  const std::shared_ptr<RecordingTemplateStore> store_ = std::make_shared<RecordingTemplateStore>();
  Catalogue catalogue_{std::make_shared<OneType>()};
  TemplateRequests requests_{store_, catalogue_};
  v1::ApplyTemplatesResponse applied_;
};

TEST_F(TemplateRequestsTest, StoresTheContentAloneUnderItsCanonicalLocale) {
  v1::Template wanted = Sms("ES-mx", "hola");
  wanted.set_version(17);
  wanted.set_active(true);
  wanted.mutable_create_time()->set_seconds(1);
  ASSERT_OK(Apply({wanted}));
  ASSERT_THAT(store_->applied, SizeIs(1));
  EXPECT_EQ(store_->applied[0].app, kApp);
  EXPECT_EQ(store_->applied[0].type, "receipt");
  EXPECT_EQ(store_->applied[0].locale, "es-MX");
  EXPECT_EQ(store_->applied[0].content, Stored("", "hola").content);
  EXPECT_EQ(applied_.templates(0).sms().text(), "hola");
}

TEST_F(TemplateRequestsTest, NamesEveryFaultOfEveryTemplate) {
  v1::Template unknown = Sms("", "x");
  unknown.set_type("nope");
  EXPECT_THAT(Apply({Sms("es_MX", "{{>x}}"), unknown, Sms("de", "a"), Sms("DE", "b")}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("templates[0].locale"), HasSubstr("templates[0].sms.text"),
                             HasSubstr("templates[1].type"), HasSubstr("templates[3].locale"))));
  EXPECT_THAT(store_->applied, IsEmpty());
}

TEST_F(TemplateRequestsTest, TakesOneToAThousand) {
  EXPECT_THAT(Apply({}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("templates: must be 1 to 1000")));
  EXPECT_THAT(Apply(std::vector<v1::Template>(1001, Sms("", "x"))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must be 1 to 1000")));
}

TEST_F(TemplateRequestsTest, ActivatesAVersionOfTheCaller) {
  v1::ActivateTemplateRequest request;
  v1::ActivateTemplateResponse response;
  EXPECT_THAT(requests_.Activate(kApp, request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("type:"), HasSubstr("channel:"), HasSubstr("version:"))));
  request.set_type("receipt");
  request.set_channel(v1::CHANNEL_SMS);
  request.set_locale("es-mx");
  request.set_version(3);
  ASSERT_OK(requests_.Activate(kApp, request, &response));
  EXPECT_EQ(store_->activated,
            (TemplateKey{.app = kApp, .type = "receipt", .channel = Channel::kSms, .locale = "es-MX"}));
  EXPECT_EQ(response.template_().version(), 3);
}

TEST_F(TemplateRequestsTest, ListsPageByPage) {
  store_->stored = {Stored("de", "a"), Stored("es-MX", "b")};
  v1::ListTemplatesRequest request;
  request.set_type("receipt");
  request.set_page_size(2);
  v1::ListTemplatesResponse page;
  ASSERT_OK(requests_.List(kApp, request, &page));
  EXPECT_EQ(page.templates(1).locale(), "es-MX");
  request.set_page_token(page.next_page_token());
  ASSERT_OK(requests_.List(kApp, request, &page));
  ASSERT_TRUE(store_->queries[1].after.has_value());
  EXPECT_EQ(store_->queries[1].after->key,
            (TemplateKey{.app = {}, .type = "receipt", .channel = Channel::kSms, .locale = "es-MX"}));
  EXPECT_EQ(store_->queries[1].after->version, 4);
  // A token is good for the same listing only.
  request.set_all_versions(true);
  EXPECT_THAT(requests_.List(kApp, request, &page),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")));
}

TEST_F(TemplateRequestsTest, PreviewsWhatARecipientOfThatLocaleWouldGet) {
  store_->stored = {Stored("es", "Pagado {{data.amount}}"), Stored("de", "Bezahlt {{data.amount}} {{data.when}}")};
  ASSERT_OK_AND_ASSIGN(const v1::PreviewTemplateResponse spanish, Preview(Active("es-MX")));
  EXPECT_EQ(spanish.content().text(), "Pagado 5 EUR");
  EXPECT_EQ(spanish.template_().locale(), "es");
  EXPECT_EQ(spanish.template_().version(), 4);
  EXPECT_THAT(spanish.missing_variables(), IsEmpty());
  // The app's default locale.
  ASSERT_OK_AND_ASSIGN(const v1::PreviewTemplateResponse french, Preview(Active("fr")));
  EXPECT_EQ(french.content().text(), "Bezahlt 5 EUR ");
  EXPECT_THAT(french.missing_variables(), ElementsAre("data.when"));
}

TEST_F(TemplateRequestsTest, PreviewsTheTypesOwnTextsWhereThereIsNoTemplate) {
  ASSERT_OK_AND_ASSIGN(const v1::PreviewTemplateResponse preview, Preview(Active("")));
  EXPECT_EQ(preview.content().text(), "Paid: 5 EUR");
  EXPECT_EQ(preview.content().sms_segments().segments(), 1);
  EXPECT_EQ(preview.template_().version(), 0);
  EXPECT_EQ(preview.template_().type(), "receipt");
}

TEST_F(TemplateRequestsTest, PreviewsADraftWithASampleOfTheUnsubscribeLink) {
  v1::PreviewTemplateRequest request;
  v1::Template& draft = *request.mutable_template_();
  draft.set_type("receipt");
  draft.set_channel(v1::CHANNEL_EMAIL);
  draft.set_version(9);
  draft.mutable_email()->set_subject("Hi {{user_id}} {{actor_id}}");
  draft.mutable_email()->set_html("<p>{{object_id}} <a href=\"{{unsubscribe_url}}\">leave</a>");
  request.set_user_id("ana");
  request.set_object_id("<7>");
  ASSERT_OK_AND_ASSIGN(const v1::PreviewTemplateResponse preview, Preview(request));
  EXPECT_EQ(preview.content().subject(), "Hi ana ");
  EXPECT_EQ(preview.content().html(), "<p>&lt;7&gt; <a href=\"https://example.com/unsubscribe\">leave</a>");
  EXPECT_THAT(preview.missing_variables(), ElementsAre("actor_id"));
  EXPECT_EQ(preview.template_().version(), 0);
}

TEST_F(TemplateRequestsTest, SaysWhatIsWrongWithAPreview) {
  EXPECT_THAT(Preview({}),
              StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("type:"), HasSubstr("channel:"))));
  v1::PreviewTemplateRequest both = Active("es");
  *both.mutable_template_() = Sms("", "{{#open}}");
  EXPECT_THAT(Preview(both), StatusIs(absl::StatusCode::kInvalidArgument,
                                      AllOf(HasSubstr("template: must be absent"), HasSubstr("template.sms.text"))));
  v1::PreviewTemplateRequest empty;
  *empty.mutable_template_() = Sms("", "{{data.nope}}");
  EXPECT_THAT(Preview(empty), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sms.text")));
  v1::PreviewTemplateRequest long_id = Active("");
  long_id.set_user_id(std::string(256, 'x'));
  EXPECT_THAT(Preview(long_id), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("user_id")));
}

}  // namespace
}  // namespace carillon::testing
