// Structured logs: one JSON object a line on standard error, by spdlog's bounded
// asynchronous queue (when it is full the oldest lines give way and are counted).
//
// Keys: ts, level, process, event, then the fields given, but for empty texts. Events are dotted
// names (delivery.dead). error: someone must act; warn: degraded; info: life
// cycle; debug: per message. Never payloads, addresses, tokens or secrets.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace carillon::log {

struct Field {
  Field(absl::string_view k, absl::string_view v) : key(k), value(v) {}
  Field(absl::string_view k, const char* v) : key(k), value(absl::string_view(v)) {}
  Field(absl::string_view k, const std::string& v) : key(k), value(absl::string_view(v)) {}
  Field(absl::string_view k, bool v) : key(k), value(v) {}
  Field(absl::string_view k, double v) : key(k), value(v) {}
  template <std::integral T>
  Field(absl::string_view k, T v) : key(k), value(static_cast<int64_t>(v)) {}
  // Code and message.
  Field(absl::string_view k, const absl::Status& v)
      : key(k), value(absl::StrCat(absl::StatusCodeToString(v.code()), ": ", v.message())) {}

  absl::string_view key;
  std::variant<absl::string_view, std::string, int64_t, double, bool> value;
};

// Call once, before the first line. level: debug, info, warn, error.
void Start(absl::string_view process, absl::string_view level);
// Writes out what is queued. Lines after it are lost.
void Flush();

void Debug(absl::string_view event, std::initializer_list<Field> fields = {});
void Info(absl::string_view event, std::initializer_list<Field> fields = {});
void Warn(absl::string_view event, std::initializer_list<Field> fields = {});
void Error(absl::string_view event, std::initializer_list<Field> fields = {});

}  // namespace carillon::log
