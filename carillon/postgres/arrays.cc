#include "carillon/postgres/arrays.h"

#include <algorithm>
#include <stdexcept>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace carillon {
namespace {

// The bytes of the character that the text begins with, 0 if it begins with none
// that is well-formed (Unicode 15, table 3-7) and not NUL.
size_t CharacterLength(absl::string_view text) {
  const auto byte = [text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint8_t first = byte(0);
  if (first < 0x80) return first == 0 ? 0 : 1;
  const size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool out_of_range = (first == 0xed && byte(1) >= 0xa0) || (first == 0xf4 && byte(1) >= 0x90);
  return overlong || out_of_range ? 0 : length;
}

}  // namespace

std::string StorableText(absl::string_view text, size_t max_bytes) {
  std::string storable;
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    const absl::string_view character = length == 0 ? "?" : text.substr(0, length);
    if (storable.size() + character.size() > max_bytes) break;
    absl::StrAppend(&storable, character);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return storable;
}

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

std::string BytesLiteral(absl::string_view bytes) {
  PgArray array;
  array.AddBytesOrNull(bytes);
  return array.str();
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
