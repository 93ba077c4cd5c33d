#include "carillon/wire/struct_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "carillon/domain/limits.h"

namespace carillon {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;
using ::testing::HasSubstr;

Value Number(double number) {
  Value value;
  value.set_number_value(number);
  return value;
}

Value Text(std::string text) {
  Value value;
  value.set_string_value(std::move(text));
  return value;
}

Struct Of(std::vector<std::pair<std::string, Value>> fields) {
  Struct result;
  for (auto& [name, value] : fields) (*result.mutable_fields())[name] = std::move(value);
  return result;
}

std::string Json(const Struct& data) {
  const absl::StatusOr<std::string> json = StructToJson(data);
  EXPECT_TRUE(json.ok()) << json.status();
  return json.value_or("");
}

void ExpectRefused(const Struct& data, absl::string_view message) {
  const absl::StatusOr<std::string> json = StructToJson(data);
  ASSERT_FALSE(json.ok());
  EXPECT_EQ(json.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(json.status().message(), message);
}

// A Struct of so many levels, the outermost counted.
Struct Nested(int levels) {
  Struct result;
  Struct* inner = &result;
  for (int i = 1; i < levels; ++i) inner = (*inner->mutable_fields())["a"].mutable_struct_value();
  return result;
}

TEST(StructToJson, GivesAnEmptyObjectForNoFields) { EXPECT_EQ(Json({}), "{}"); }

TEST(StructToJson, SortsKeysByTheirBytes) {
  EXPECT_EQ(Json(Of({{"b", Number(1)}, {"a", Number(2)}, {"B", Number(3)}, {"é", Number(4)}, {"", Number(5)}})),
            R"({"":5,"B":3,"a":2,"b":1,"é":4})");
}

TEST(StructToJson, GivesEqualTextsWhateverTheOrderOfInsertion) {
  EXPECT_EQ(Json(Of({{"x", Number(1)}, {"y", Text("z")}, {"w", {}}})),
            Json(Of({{"w", {}}, {"y", Text("z")}, {"x", Number(1)}})));
}

TEST(StructToJson, WritesEveryKindOfValue) {
  Struct data;
  JsonToStruct(R"({"array":[1,"two",[],{}],"false":false,"null":null,"object":{"k":"v"},"true":true})", &data);
  EXPECT_EQ(Json(data), R"({"array":[1,"two",[],{}],"false":false,"null":null,"object":{"k":"v"},"true":true})");
}

TEST(StructToJson, WritesTheShortestNumbersThatReadBackEqual) {
  EXPECT_EQ(Json(Of({{"n", Number(0.1)}})), R"({"n":0.1})");
  EXPECT_EQ(Json(Of({{"n", Number(100)}})), R"({"n":100})");
  EXPECT_EQ(Json(Of({{"n", Number(-2.5)}})), R"({"n":-2.5})");
  for (const double number : {1.0 / 3, 9007199254740993.0, 1e300, 5e-324, 1.7976931348623157e308, 123456789.125}) {
    Struct back;
    JsonToStruct(Json(Of({{"n", Number(number)}})), &back);
    EXPECT_EQ(back.fields().at("n").number_value(), number);
  }
}

TEST(StructToJson, EscapesWhatJsonReserves) {
  EXPECT_EQ(Json(Of({{"t", Text("a\"b\\c\n\x1f/ü")}})), R"({"t":"a\"b\\c\u000a\u001f/ü"})");
}

TEST(StructToJson, RefusesNumbersThatJsonLacks) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double number : {std::nan(""), infinity, -infinity}) {
    ExpectRefused(Of({{"n", Number(number)}}), "must not contain NaN or infinite numbers");
  }
}

TEST(StructToJson, RefusesNulCharactersInKeysAndTexts) {
  ExpectRefused(Of({{std::string("a\0b", 3), Number(1)}}), "must not contain NUL characters");
  ExpectRefused(Of({{"a", Text(std::string(1, '\0'))}}), "must not contain NUL characters");
}

TEST(StructToJson, AllowsExactlyTheGreatestDepth) {
  EXPECT_TRUE(StructToJson(Nested(limits::kMaxDataDepth)).ok());
  ExpectRefused(Nested(limits::kMaxDataDepth + 1), "must be at most 16 levels deep");
}

TEST(StructToJson, AllowsExactlyTheGreatestSize) {
  const size_t around = absl::string_view(R"({"a":""})").size();
  EXPECT_TRUE(StructToJson(Of({{"a", Text(std::string(limits::kMaxDataBytes - around, 'x'))}})).ok());
  ExpectRefused(Of({{"a", Text(std::string(limits::kMaxDataBytes - around + 1, 'x'))}}),
                "must be at most 16384 bytes as JSON");
}

TEST(StructToJson, CountsTheSizeAfterEscaping) {
  ExpectRefused(Of({{"a", Text(std::string(limits::kMaxDataBytes / 2, '\n'))}}), "must be at most 16384 bytes as JSON");
}

TEST(JsonToStruct, ClearsOnWhatIsNoObject) {
  for (const absl::string_view json : {"", "[1]", "{", "null", "{\"a\":}"}) {
    Struct data = Of({{"old", Number(1)}});
    JsonToStruct(json, &data);
    EXPECT_EQ(data.fields_size(), 0) << json;
  }
}

TEST(JsonToStruct, IsUndoneByStructToJson) {
  const std::string json = R"({"a":[1,2.5,{"b":null}],"c":"text with \"quotes\"","d":true})";
  Struct data;
  JsonToStruct(json, &data);
  EXPECT_EQ(Json(data), json);
}

}  // namespace
}  // namespace carillon
