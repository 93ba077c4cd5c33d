#include "carillon/redis/script.h"

#include <openssl/sha.h>

#include <array>
#include <numeric>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

std::string DigestOf(absl::string_view text) {
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

bool IsNotLoaded(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) && absl::StrContains(status.message(), "NOSCRIPT");
}

}  // namespace

RedisScript::RedisScript(absl::string_view text) : text_(text), digest_(DigestOf(text)) {}

absl::StatusOr<RedisScript::Replies> RedisScript::Run(absl::Span<const Call> calls, RedisConnection& connection,
                                                      RedisDeadline deadline) const {
  Replies replies(calls.size());
  std::vector<size_t> asked(calls.size());
  std::iota(asked.begin(), asked.end(), 0);
  RETURN_IF_ERROR(Ask(calls, asked, connection, deadline, replies));
  std::erase_if(asked, [&](size_t i) { return !IsNotLoaded(replies[i].status()); });
  if (asked.empty()) return replies;
  RETURN_IF_ERROR(connection.Call({"SCRIPT", "LOAD", text_}, deadline).status());
  RETURN_IF_ERROR(Ask(calls, asked, connection, deadline, replies));
  return replies;
}

absl::Status RedisScript::Ask(absl::Span<const Call> calls, absl::Span<const size_t> asked, RedisConnection& connection,
                              RedisDeadline deadline, Replies& replies) const {
  for (const size_t i : asked) {
    const std::string key_count = absl::StrCat(calls[i].keys.size());
    std::vector<absl::string_view> words = {"EVALSHA", digest_, key_count};
    words.insert(words.end(), calls[i].keys.begin(), calls[i].keys.end());
    words.insert(words.end(), calls[i].arguments.begin(), calls[i].arguments.end());
    RETURN_IF_ERROR(connection.Append(words));
  }
  RETURN_IF_ERROR(connection.Flush(deadline));
  for (const size_t i : asked) {
    replies[i] = connection.Read(deadline);
    // A refusal is a reply like others: those behind it are read, too.
    if (!replies[i].ok() && !absl::IsFailedPrecondition(replies[i].status())) return replies[i].status();
    if (replies[i].ok() && *replies[i] == nullptr) return absl::DeadlineExceededError("redis: no reply in time");
  }
  return absl::OkStatus();
}

}  // namespace carillon
