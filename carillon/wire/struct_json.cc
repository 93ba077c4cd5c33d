#include "carillon/wire/struct_json.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

// Builds the text; stops at the first fault, so that no input makes it grow far
// beyond the limit.
class JsonWriter {
 public:
  absl::Status WriteObject(const Struct& object, int depth) {
    RETURN_IF_ERROR(CheckDepth(depth));
    std::vector<std::pair<absl::string_view, const Value*>> fields;
    fields.reserve(object.fields().size());
    for (const auto& field : object.fields()) fields.emplace_back(field.first, &field.second);
    std::sort(fields.begin(), fields.end());
    char separator = '{';
    for (const auto& [name, value] : fields) {
      text_ += separator;
      separator = ',';
      RETURN_IF_ERROR(WriteString(name));
      text_ += ':';
      RETURN_IF_ERROR(WriteValue(*value, depth));
    }
    text_ += fields.empty() ? "{}" : "}";
    return CheckSize();
  }

  std::string Take() && { return std::move(text_); }

 private:
  absl::Status WriteValue(const Value& value, int depth) {
    switch (value.kind_case()) {
      case Value::kNumberValue:
        return WriteNumber(value.number_value());
      case Value::kStringValue:
        return WriteString(value.string_value());
      case Value::kBoolValue:
        text_ += value.bool_value() ? "true" : "false";
        return CheckSize();
      case Value::kStructValue:
        return WriteObject(value.struct_value(), depth + 1);
      case Value::kListValue:
        return WriteArray(value.list_value(), depth + 1);
      case Value::kNullValue:
      case Value::KIND_NOT_SET:
        text_ += "null";
        return CheckSize();
    }
    return absl::InvalidArgumentError("must hold JSON values only");
  }

  absl::Status WriteArray(const ListValue& array, int depth) {
    RETURN_IF_ERROR(CheckDepth(depth));
    char separator = '[';
    for (const Value& value : array.values()) {
      text_ += separator;
      separator = ',';
      RETURN_IF_ERROR(WriteValue(value, depth));
    }
    text_ += array.values().empty() ? "[]" : "]";
    return CheckSize();
  }

  absl::Status WriteNumber(double number) {
    if (!std::isfinite(number)) return absl::InvalidArgumentError("must not contain NaN or infinite numbers");
    char digits[32];
    const std::to_chars_result result = std::to_chars(std::begin(digits), std::end(digits), number);
    text_.append(digits, result.ptr);
    return CheckSize();
  }

  absl::Status WriteString(absl::string_view string) {
    RETURN_IF_ERROR(CheckSize(string.size()));
    text_ += '"';
    for (const char c : string) {
      if (c == '\0') return absl::InvalidArgumentError("must not contain NUL characters");
      WriteCharacter(c);
    }
    text_ += '"';
    return CheckSize();
  }

  void WriteCharacter(char c) {
    if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&text_, "\\u%04x", c);
    } else {
      text_ += c;
    }
  }

  static absl::Status CheckDepth(int depth) {
    if (depth <= limits::kMaxDataDepth) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("must be at most ", limits::kMaxDataDepth, " levels deep"));
  }

  absl::Status CheckSize(size_t more = 0) const {
    if (text_.size() + more <= limits::kMaxDataBytes) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("must be at most ", limits::kMaxDataBytes, " bytes as JSON"));
  }

  std::string text_;
};

void ReadObject(const nlohmann::json& json, Struct* out);

void ReadValue(const nlohmann::json& json, Value* out) {
  if (json.is_number()) {
    out->set_number_value(json.get<double>());
  } else if (json.is_string()) {
    out->set_string_value(json.get_ref<const std::string&>());
  } else if (json.is_boolean()) {
    out->set_bool_value(json.get<bool>());
  } else if (json.is_object()) {
    ReadObject(json, out->mutable_struct_value());
  } else if (json.is_array()) {
    for (const nlohmann::json& element : json) ReadValue(element, out->mutable_list_value()->add_values());
    // An empty array is one, too.
    out->mutable_list_value();
  } else {
    out->set_null_value(google::protobuf::NULL_VALUE);
  }
}

void ReadObject(const nlohmann::json& json, Struct* out) {
  for (const auto& [name, value] : json.items()) ReadValue(value, &(*out->mutable_fields())[name]);
}

}  // namespace

absl::StatusOr<std::string> StructToJson(const google::protobuf::Struct& data) {
  JsonWriter writer;
  RETURN_IF_ERROR(writer.WriteObject(data, /*depth=*/1));
  return std::move(writer).Take();
}

void JsonToStruct(absl::string_view json, google::protobuf::Struct* out) {
  out->Clear();
  const nlohmann::json parsed = nlohmann::json::parse(json, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (parsed.is_object()) ReadObject(parsed, out);
}

}  // namespace carillon
