// Values as PostgreSQL reads them: array literals for unnest(), which carry many
// rows in one parameter, and columns back into our types.
#pragma once

#include <cstdint>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"

namespace carillon {

// Text as it can be stored: cut to so many bytes, with a question mark for every
// byte that is not UTF-8 and for NUL. For errors, which may quote anything.
std::string StorableText(absl::string_view text, size_t max_bytes);

// Builds '{...}'. Every text is quoted and escaped, so no value can end it early.
class PgArray {
 public:
  PgArray& Add(absl::string_view text);
  // NULL if empty: how optional texts are stored.
  PgArray& AddOrNull(absl::string_view text);
  PgArray& Add(int64_t number);
  PgArray& Add(const Uuid& id);
  PgArray& AddBytes(absl::string_view bytes);
  PgArray& AddBytesOrNull(absl::string_view bytes);
  // Microseconds since 1970; see kFromMicroseconds.
  PgArray& Add(absl::Time time) { return Add(absl::ToUnixMicros(time)); }
  PgArray& AddNull();

  // The finished literal.
  std::string str() const { return text_ + "}"; }

 private:
  void Separate() {
    if (text_.size() > 1) text_.push_back(',');
  }

  std::string text_ = "{";
};

// A text parameter that is NULL if empty. Lives as long as `text`.
inline const char* OrNull(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }
// Bytes as an array of one, NULL if empty: ($1::bytea[])[1].
std::string BytesLiteral(absl::string_view bytes);

// An array literal of channel names, and back.
std::string ChannelsLiteral(const std::vector<Channel>& channels);
std::vector<Channel> ParseChannels(const pqxx::field& field);

absl::string_view Text(const pqxx::field& field);  // Empty for NULL.
std::string OwnedText(const pqxx::field& field);
Uuid UuidOf(const pqxx::field& field);
std::string BytesOf(const pqxx::field& field);  // bytea in hexadecimal form.
absl::Time TimeOf(const pqxx::field& microseconds);

}  // namespace carillon
