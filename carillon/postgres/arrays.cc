#include "carillon/postgres/arrays.h"

#include <stdexcept>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace carillon {

PgArray& PgArray::Add(absl::string_view text) {
  Separate();
  text_.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') text_.push_back('\\');
    text_.push_back(c);
  }
  text_.push_back('"');
  return *this;
}

PgArray& PgArray::AddOrNull(absl::string_view text) { return text.empty() ? AddNull() : Add(text); }

PgArray& PgArray::Add(int64_t number) {
  Separate();
  absl::StrAppend(&text_, number);
  return *this;
}

PgArray& PgArray::Add(const Uuid& id) {
  Separate();
  text_ += id.ToString();
  return *this;
}

PgArray& PgArray::AddBytes(absl::string_view bytes) {
  Separate();
  absl::StrAppend(&text_, "\"\\\\x", absl::BytesToHexString(bytes), "\"");
  return *this;
}

PgArray& PgArray::AddBytesOrNull(absl::string_view bytes) { return bytes.empty() ? AddNull() : AddBytes(bytes); }

PgArray& PgArray::AddNull() {
  Separate();
  text_ += "NULL";
  return *this;
}

std::string ChannelsLiteral(const std::vector<Channel>& channels) {
  PgArray array;
  for (const Channel channel : channels) array.Add(ToString(channel));
  return array.str();
}

std::vector<Channel> ParseChannels(const pqxx::field& field) {
  std::vector<Channel> channels;
  absl::string_view text = Text(field);
  absl::ConsumePrefix(&text, "{");
  absl::ConsumeSuffix(&text, "}");
  for (const absl::string_view name : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    if (const auto channel = ParseChannel(name); channel.has_value()) channels.push_back(*channel);
  }
  return channels;
}

absl::string_view Text(const pqxx::field& field) { return {field.c_str(), field.size()}; }
std::string OwnedText(const pqxx::field& field) { return std::string(Text(field)); }

Uuid UuidOf(const pqxx::field& field) {
  const std::optional<Uuid> id = Uuid::Parse(Text(field));
  if (!id.has_value()) throw std::runtime_error("a column is not a UUID");
  return *id;
}

std::string BytesOf(const pqxx::field& field) {
  absl::string_view text = Text(field);
  absl::ConsumePrefix(&text, "\\x");
  return absl::HexStringToBytes(text);
}

absl::Time TimeOf(const pqxx::field& microseconds) { return absl::FromUnixMicros(microseconds.as<int64_t>()); }

}  // namespace carillon
