// The rules of our protos, which no packaged linter checks: see docs/development.md.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/v1/admin_service.pb.h"
#include "carillon/v1/catalog_service.pb.h"
#include "carillon/v1/error_reason.pb.h"
#include "carillon/v1/feed_service.pb.h"
#include "carillon/v1/notification_service.pb.h"

namespace carillon {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FileDescriptor;

std::vector<const FileDescriptor*> Files() {
  return {v1::App::descriptor()->file(),
          v1::Type::descriptor()->file(),
          v1::ErrorReason_descriptor()->file(),
          v1::FeedItem::descriptor()->file(),
          v1::SendNotificationRequest::descriptor()->file(),
          v1::Notification::descriptor()->file()};
}

// ResumeRequired -> RESUME_REQUIRED
std::string UpperSnake(const std::string& camel) {
  std::string snake;
  for (const char c : camel) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !snake.empty()) snake.push_back('_');
    snake.push_back(absl::ascii_toupper(static_cast<unsigned char>(c)));
  }
  return snake;
}

void CheckEnum(const EnumDescriptor& type) {
  const std::string prefix = absl::StrCat(UpperSnake(type.name()), "_");
  ASSERT_NE(type.FindValueByNumber(0), nullptr) << type.full_name();
  EXPECT_EQ(type.FindValueByNumber(0)->name(), absl::StrCat(prefix, "UNSPECIFIED"));
  for (int i = 0; i < type.value_count(); ++i) {
    EXPECT_TRUE(absl::StartsWith(type.value(i)->name(), prefix)) << type.value(i)->full_name();
  }
}

void CheckMessage(const Descriptor& message) {
  for (int i = 0; i < message.enum_type_count(); ++i) CheckEnum(*message.enum_type(i));
  for (int i = 0; i < message.nested_type_count(); ++i) CheckMessage(*message.nested_type(i));
  for (int i = 0; i < message.field_count(); ++i) {
    EXPECT_EQ(message.field(i)->name(), absl::AsciiStrToLower(message.field(i)->name())) << message.full_name();
  }
}

TEST(Protos, NameEnumsAndFieldsByTheRules) {
  for (const FileDescriptor* file : Files()) {
    EXPECT_EQ(file->package(), "carillon.v1") << file->name();
    for (int i = 0; i < file->enum_type_count(); ++i) CheckEnum(*file->enum_type(i));
    for (int i = 0; i < file->message_type_count(); ++i) CheckMessage(*file->message_type(i));
  }
}

TEST(Protos, GiveEveryMethodMessagesOfItsOwn) {
  int methods = 0;
  for (const FileDescriptor* file : Files()) {
    EXPECT_LE(file->service_count(), 1) << file->name();
    for (int s = 0; s < file->service_count(); ++s) {
      EXPECT_TRUE(absl::EndsWith(file->service(s)->name(), "Service"));
      for (int m = 0; m < file->service(s)->method_count(); ++m, ++methods) {
        const auto& method = *file->service(s)->method(m);
        EXPECT_EQ(method.input_type()->name(), absl::StrCat(method.name(), "Request"));
        EXPECT_EQ(method.output_type()->name(), absl::StrCat(method.name(), "Response"));
      }
    }
  }
  EXPECT_GE(methods, 14);
}

TEST(Protos, PageEveryList) {
  for (const FileDescriptor* file : Files()) {
    for (int i = 0; i < file->message_type_count(); ++i) {
      const Descriptor& message = *file->message_type(i);
      if (message.FindFieldByName("page_size") == nullptr) continue;
      EXPECT_NE(message.FindFieldByName("page_token"), nullptr) << message.full_name();
      const Descriptor* response =
          file->FindMessageTypeByName(absl::StrCat(message.name().substr(0, message.name().size() - 7), "Response"));
      ASSERT_NE(response, nullptr) << message.full_name();
      EXPECT_NE(response->FindFieldByName("next_page_token"), nullptr) << response->full_name();
    }
  }
}

}  // namespace
}  // namespace carillon
