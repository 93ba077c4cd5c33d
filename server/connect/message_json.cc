#include "server/connect/message_json.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver_util.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "carillon/domain/errors.h"

namespace carillon {
namespace {

namespace util = google::protobuf::util;

// The parser treats well-known types as such only below it.
constexpr char kTypePrefix[] = "type.googleapis.com";
constexpr size_t kMaxWords = 200;
// Of objects and arrays. The deepest legal request is one of a batch, with
// limits::kMaxDataDepth levels of data in it.
constexpr int kMaxDepth = 32;

std::string TypeUrl(const google::protobuf::Descriptor& type) {
  return absl::StrCat(kTypePrefix, "/", type.full_name());
}

// The parser's words repeat what was sent.
std::string Harmless(absl::string_view words) {
  std::string text(words.substr(0, kMaxWords));
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return !absl::ascii_isprint(c); }, '?');
  return text;
}

// What it says of a field is "PATH: Cannot find field." or "(PATH): invalid value
// VALUE for type TYPE"; of anything else a sentence and, on other lines, an excerpt.
absl::Status ToError(const google::protobuf::Descriptor& type, const util::Status& fault) {
  const std::string words(fault.message().data(), fault.message().size());
  absl::string_view field = words;
  if (absl::ConsumeSuffix(&field, ": Cannot find field.")) {
    return error::InvalidField(Harmless(field), absl::StrCat("is no field of ", type.full_name()));
  }
  const size_t end = words.find("): invalid value ");
  const size_t type_begin = words.rfind(" for type ");
  if (absl::StartsWith(words, "(") && end != std::string::npos && type_begin != std::string::npos) {
    absl::string_view wanted = absl::string_view(words).substr(type_begin + 10);
    (void)absl::ConsumePrefix(&wanted, absl::StrCat(kTypePrefix, "/"));
    const std::string name =
        absl::ConsumePrefix(&wanted, "TYPE_") ? absl::AsciiStrToLower(wanted) : std::string(wanted);
    return error::InvalidField(Harmless(words.substr(1, end - 1)), absl::StrCat("must be of type ", Harmless(name)));
  }
  const std::vector<std::string> lines = absl::StrSplit(words, absl::MaxSplits('\n', 1));
  return error::InvalidField("body", absl::StrCat("must be ", type.full_name(), " as JSON: ", Harmless(lines[0])));
}

// The parser counts objects only, and takes a time that grows with the square of the
// depth. As it does, this takes strings in both kinds of quotes.
bool IsTooDeep(absl::string_view json) {
  int depth = 0;
  char quote = 0;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (quote != 0) {
      if (c == '\\') ++i;
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

MessageJson::MessageJson()
    : resolver_(
          util::NewTypeResolverForDescriptorPool(kTypePrefix, google::protobuf::DescriptorPool::generated_pool())) {}

absl::StatusOr<std::string> MessageJson::ToBinary(const google::protobuf::Descriptor& type,
                                                  const std::string& json) const {
  if (IsTooDeep(json)) {
    return error::InvalidField("body", absl::StrCat("may have at most ", kMaxDepth, " levels of objects and arrays"));
  }
  std::string binary;
  const util::Status parsed = util::JsonToBinaryString(resolver_.get(), TypeUrl(type), json, &binary);
  if (!parsed.ok()) return ToError(type, parsed);
  return binary;
}

absl::StatusOr<std::string> MessageJson::ToJson(const google::protobuf::Descriptor& type,
                                                const std::string& binary) const {
  std::string json;
  const util::Status written = util::BinaryToJsonString(resolver_.get(), TypeUrl(type), binary, &json);
  if (!written.ok()) return error::Internal(absl::StrCat(type.full_name(), ": ", written.ToString()));
  return json;
}

absl::Status CheckBinary(const google::protobuf::Descriptor& type, const std::string& binary) {
  const auto* const prototype = google::protobuf::MessageFactory::generated_factory()->GetPrototype(&type);
  const std::unique_ptr<google::protobuf::Message> message(prototype->New());
  if (message->ParseFromString(binary)) return absl::OkStatus();
  return error::InvalidField("body", absl::StrCat("must be a serialised ", type.full_name()));
}

}  // namespace carillon
