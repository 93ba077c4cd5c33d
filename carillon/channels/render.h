// From a template and a notification to what a channel says. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/notification.h"
#include "carillon/v1/template.pb.h"

namespace carillon {

// What templates render. Names that they may use: those of NamesOf; title, body,
// action_link and image_url as the type's in_app texts render; unsubscribe_url.
struct RenderInput {
  const Notification& notification;
  const NotificationType& type;
  std::string unsubscribe_url;  // Empty: none.
};

// What is sent. INVALID_ARGUMENT, naming the field, if that can't be sent: a line
// break or NUL in the subject, nothing where something must be, too much text.
// Title and body of a push message are cut instead.
absl::StatusOr<v1::RenderedContent> RenderContent(const v1::Template& content, Channel channel,
                                                  const RenderInput& input);

// Where answers to an e-mail go; empty: to the sender. INVALID_ARGUMENT if it is no
// address that a header could hold.
absl::StatusOr<std::string> RenderReplyTo(const v1::Template& content, const RenderInput& input);

// What is said where nobody wrote a template: the type's in_app texts.
v1::Template DefaultTemplate(Channel channel);

// The names that the template, or an in_app text in it, uses and nothing is given
// for. Sorted. Asking for a name with a section is no use of it.
std::vector<std::string> MissingVariables(const v1::Template& content, const RenderInput& input);

// What is wrong with a template's channel and content, field by field (email.subject);
// limits are those of template.proto.
std::vector<FieldViolation> CheckContent(const v1::Template& content);

}  // namespace carillon
