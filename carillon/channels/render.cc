#include "carillon/channels/render.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/channels/in_app_template.h"
#include "carillon/channels/mustache.h"
#include "carillon/channels/sms_segments.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

using Json = nlohmann::json;
using Escape = Mustache::Escape;

// The names that come of a type's own texts.
constexpr std::pair<const char*, std::string InAppTemplate::*> kInAppNames[] = {
    {"title", &InAppTemplate::title},
    {"body", &InAppTemplate::body},
    {"action_link", &InAppTemplate::action_link},
    {"image_url", &InAppTemplate::image_url},
};

Json AllNames(const RenderInput& input) {
  Json names = NamesOf(input.notification);
  // All first: a type's text does not see the others.
  std::vector<std::string> texts;
  for (const auto& [name, field] : kInAppNames) texts.push_back(RenderText(input.type.in_app.*field, names));
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i].empty()) names[kInAppNames[i].first] = std::move(texts[i]);
  }
  if (!input.unsubscribe_url.empty()) names["unsubscribe_url"] = input.unsubscribe_url;
  return names;
}

// One text of a template.
struct Part {
  const char* field;  // As template.proto names it.
  const std::string* text;
  size_t max_bytes;  // Before it is rendered.
  bool required;
};

std::vector<Part> PartsOf(const v1::Template& content) {
  switch (content.content_case()) {
    case v1::Template::kEmail: {
      const v1::EmailContent& email = content.email();
      return {{"email.subject", &email.subject(), limits::kMaxTemplateFieldBytes, true},
              {"email.text", &email.text(), limits::kMaxTemplateTextBytes, email.html().empty()},
              {"email.html", &email.html(), limits::kMaxTemplateHtmlBytes, false},
              {"email.reply_to", &email.reply_to(), limits::kMaxTemplateFieldBytes, false}};
    }
    case v1::Template::kSms:
      return {{"sms.text", &content.sms().text(), limits::kMaxTemplateSmsBytes, true}};
    case v1::Template::kPush: {
      const v1::PushContent& push = content.push();
      return {{"push.title", &push.title(), limits::kMaxTemplateFieldBytes, false},
              {"push.body", &push.body(), limits::kMaxTemplateBodyBytes, true},
              {"push.action_link", &push.action_link(), limits::kMaxTemplateFieldBytes, false},
              {"push.image_url", &push.image_url(), limits::kMaxTemplateFieldBytes, false}};
    }
    case v1::Template::kWebhook:
    case v1::Template::CONTENT_NOT_SET:
      break;
  }
  return {};
}

v1::Template::ContentCase ContentOf(Channel channel) {
  switch (channel) {
    case Channel::kEmail:
      return v1::Template::kEmail;
    case Channel::kSms:
      return v1::Template::kSms;
    case Channel::kApns:
    case Channel::kFcm:
      return v1::Template::kPush;
    case Channel::kWebhook:
      return v1::Template::kWebhook;
    case Channel::kInApp:
      break;
  }
  return v1::Template::CONTENT_NOT_SET;
}

bool HasHeaderBreak(absl::string_view text) {
  return text.find_first_of(absl::string_view("\r\n\0", 3)) != absl::string_view::npos;
}

// Renders field by field; the first fault stays.
class ContentRenderer {
 public:
  explicit ContentRenderer(const RenderInput& input) : names_(AllNames(input)) {}

  // What has more than `max_bytes` is refused.
  std::string Text(const char* field, const std::string& text, size_t max_bytes, Escape escape = Escape::kNone) {
    Mustache::Rendered rendered = Render(field, text, max_bytes, escape);
    if (!rendered.complete) Refuse(field, absl::StrCat("must be at most ", max_bytes, " bytes when rendered"));
    return std::move(rendered.text);
  }

  std::string CutText(const char* field, const std::string& text, size_t max_bytes) {
    return Render(field, text, max_bytes, Escape::kNone).text;
  }

  std::string Header(const char* field, const std::string& text) {
    std::string rendered = Text(field, text, limits::kMaxSubjectBytes);
    if (HasHeaderBreak(rendered)) Refuse(field, "must not hold a line break or NUL when rendered");
    return rendered;
  }

  // The text that has this name; empty: it is not there.
  std::string Named(const char* name) const { return names_.value(name, std::string()); }

  void Refuse(const char* field, absl::string_view why) {
    if (status_.ok()) status_ = error::InvalidField(field, why);
  }
  void RefuseEmpty(const char* field, bool empty) {
    if (empty) Refuse(field, "must not be empty when rendered");
  }

  const absl::Status& status() const { return status_; }

 private:
  Mustache::Rendered Render(const char* field, const std::string& text, size_t max_bytes, Escape escape) {
    const std::shared_ptr<const Mustache> parsed = CachedMustache(text);
    if (parsed != nullptr) return parsed->Render(names_, escape, max_bytes);
    Refuse(field, Mustache::Parse(text).status().message());
    return {};
  }

  const Json names_;
  absl::Status status_;
};

void RenderEmail(const v1::EmailContent& email, ContentRenderer& renderer, v1::RenderedContent& out) {
  out.set_subject(renderer.Header("email.subject", email.subject()));
  out.set_text(renderer.Text("email.text", email.text(), limits::kMaxTextBytes));
  out.set_html(renderer.Text("email.html", email.html(), limits::kMaxHtmlBytes, Escape::kHtml));
  renderer.RefuseEmpty("email.subject", out.subject().empty());
  renderer.RefuseEmpty("email.text", out.text().empty() && out.html().empty());
}

void RenderSms(const v1::SmsContent& sms, ContentRenderer& renderer, v1::RenderedContent& out) {
  constexpr size_t kMaxBytesOfCharacter = 4;
  out.set_text(renderer.Text("sms.text", sms.text(), limits::kMaxSmsCharacters * kMaxBytesOfCharacter));
  renderer.RefuseEmpty("sms.text", out.text().empty());
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  const auto characters = out.text().size() - std::count_if(out.text().begin(), out.text().end(), continues);
  if (characters > limits::kMaxSmsCharacters) {
    renderer.Refuse("sms.text",
                    absl::StrCat("must be at most ", limits::kMaxSmsCharacters, " characters when rendered"));
  }
  *out.mutable_sms_segments() = CountSmsSegments(out.text());
}

void RenderPush(const v1::PushContent& push, ContentRenderer& renderer, v1::RenderedContent& out) {
  out.set_title(renderer.CutText("push.title", push.title(), limits::kMaxPushTitleBytes));
  out.set_body(renderer.CutText("push.body", push.body(), limits::kMaxPushBodyBytes));
  out.set_action_link(renderer.Text("push.action_link", push.action_link(), limits::kMaxPushLinkBytes));
  out.set_image_url(renderer.Text("push.image_url", push.image_url(), limits::kMaxPushLinkBytes));
  renderer.RefuseEmpty("push.body", out.title().empty() && out.body().empty());
}

void RenderWebhook(const ContentRenderer& renderer, v1::RenderedContent& out) {
  out.set_title(renderer.Named("title"));
  out.set_body(renderer.Named("body"));
  out.set_action_link(renderer.Named("action_link"));
  out.set_image_url(renderer.Named("image_url"));
}

void CheckText(const Part& part, std::vector<FieldViolation>& violations) {
  if (part.required && part.text->empty()) violations.push_back({part.field, "is required"});
  if (part.text->size() > part.max_bytes || part.text->find('\0') != std::string::npos) {
    violations.push_back({part.field, absl::StrCat("must be at most ", part.max_bytes, " bytes without NUL")});
    return;
  }
  const absl::StatusOr<Mustache> parsed = Mustache::Parse(*part.text);
  if (!parsed.ok()) violations.push_back({part.field, std::string(parsed.status().message())});
}

}  // namespace

absl::StatusOr<v1::RenderedContent> RenderContent(const v1::Template& content, Channel channel,
                                                  const RenderInput& input) {
  if (content.content_case() != ContentOf(channel)) {
    return error::InvalidField("content", absl::StrCat("must be that of channel ", ToString(channel)));
  }
  ContentRenderer renderer(input);
  v1::RenderedContent out;
  if (content.has_email()) RenderEmail(content.email(), renderer, out);
  if (content.has_sms()) RenderSms(content.sms(), renderer, out);
  if (content.has_push()) RenderPush(content.push(), renderer, out);
  if (content.has_webhook()) RenderWebhook(renderer, out);
  RETURN_IF_ERROR(renderer.status());
  return out;
}

absl::StatusOr<std::string> RenderReplyTo(const v1::Template& content, const RenderInput& input) {
  if (content.email().reply_to().empty()) return "";
  ContentRenderer renderer(input);
  std::string address = renderer.Header("email.reply_to", content.email().reply_to());
  if (!address.empty() && !absl::StrContains(address, '@')) {
    renderer.Refuse("email.reply_to", "must be an e-mail address when rendered");
  }
  RETURN_IF_ERROR(renderer.status());
  return address;
}

v1::Template DefaultTemplate(Channel channel) {
  v1::Template content;
  content.set_channel(static_cast<v1::Channel>(channel));
  // A body, or where a type has none the title.
  constexpr absl::string_view kBody = "{{#body}}{{body}}{{/body}}{{^body}}{{title}}{{/body}}";
  switch (ContentOf(channel)) {
    case v1::Template::kEmail:
      content.mutable_email()->set_subject("{{title}}");
      content.mutable_email()->set_text(absl::StrCat(kBody, "{{#action_link}}\n\n{{action_link}}{{/action_link}}"));
      break;
    case v1::Template::kSms:
      content.mutable_sms()->set_text("{{title}}{{#body}}: {{body}}{{/body}}");
      break;
    case v1::Template::kPush:
      content.mutable_push()->set_title("{{#body}}{{title}}{{/body}}");
      content.mutable_push()->set_body(std::string(kBody));
      content.mutable_push()->set_action_link("{{#action_link}}{{action_link}}{{/action_link}}");
      content.mutable_push()->set_image_url("{{#image_url}}{{image_url}}{{/image_url}}");
      break;
    default:
      content.mutable_webhook();
  }
  return content;
}

std::vector<std::string> MissingVariables(const v1::Template& content, const RenderInput& input) {
  const Json names = AllNames(input);
  std::set<std::string> missing;
  std::set<const char*> used;
  const auto collect = [&missing, &used](const std::string& text, const Json& given, size_t max_bytes) {
    const absl::StatusOr<Mustache> parsed = Mustache::Parse(text);
    if (!parsed.ok()) return;
    parsed->Render(given, Escape::kNone, max_bytes, &missing);
    for (const auto& [name, field] : kInAppNames) {
      if (parsed->Uses(name)) used.insert(name);
    }
  };
  for (const Part& part : PartsOf(content)) collect(*part.text, names, limits::kMaxHtmlBytes);
  const Json plain = NamesOf(input.notification);
  for (const auto& [name, field] : kInAppNames) {
    if (used.contains(name) || content.has_webhook()) {
      collect(input.type.in_app.*field, plain, limits::kMaxRenderedFieldBytes);
    }
  }
  return {missing.begin(), missing.end()};
}

std::vector<FieldViolation> CheckContent(const v1::Template& content) {
  const auto channel = static_cast<Channel>(content.channel());
  if (std::find(kExternalChannels.begin(), kExternalChannels.end(), channel) == kExternalChannels.end()) {
    return {{"channel", "must be CHANNEL_EMAIL, CHANNEL_SMS, CHANNEL_APNS, CHANNEL_FCM or CHANNEL_WEBHOOK"}};
  }
  if (content.content_case() != ContentOf(channel)) {
    const bool push = ContentOf(channel) == v1::Template::kPush;
    return {{"content", absl::StrCat("must be ", push ? "push" : ToString(channel), ", as the channel says")}};
  }
  std::vector<FieldViolation> violations;
  for (const Part& part : PartsOf(content)) CheckText(part, violations);
  for (const Part& header : PartsOf(content)) {
    const absl::string_view field = header.field;
    if ((field == "email.subject" || field == "email.reply_to") && HasHeaderBreak(*header.text)) {
      violations.push_back({header.field, "must not hold a line break"});
    }
  }
  const std::string& sound = content.push().sound();
  const bool odd = HasHeaderBreak(sound) || sound.size() > limits::kMaxIdBytes;
  if (odd)
    violations.push_back({"push.sound", absl::StrCat("must be at most ", limits::kMaxIdBytes, " bytes in one line")});
  return violations;
}

}  // namespace carillon
