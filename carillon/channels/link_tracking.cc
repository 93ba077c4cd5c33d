#include "carillon/channels/link_tracking.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "carillon/channels/mustache.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

constexpr size_t kEnd = absl::string_view::npos;

// The character that an entity (without & and ;) stands for, if a URL may hold it.
std::optional<char> CharacterOf(absl::string_view entity) {
  if (entity == "amp") return '&';
  if (entity == "lt") return '<';
  if (entity == "gt") return '>';
  if (entity == "quot") return '"';
  if (entity == "apos") return '\'';
  uint32_t code = 0;
  if (!absl::ConsumePrefix(&entity, "#")) return std::nullopt;
  const bool hex = absl::ConsumePrefix(&entity, "x") || absl::ConsumePrefix(&entity, "X");
  if (hex ? !absl::SimpleHexAtoi(entity, &code) : !absl::SimpleAtoi(entity, &code)) return std::nullopt;
  if (code < 0x20 || code > 0x7e) return std::nullopt;
  return static_cast<char>(code);
}

std::string UnescapeHtml(absl::string_view html) {
  constexpr size_t kLongest = 8;
  std::string plain;
  while (!html.empty()) {
    const size_t semicolon = html.front() == '&' ? html.substr(0, kLongest + 2).find(';') : kEnd;
    const auto character = semicolon == kEnd ? std::nullopt : CharacterOf(html.substr(1, semicolon - 1));
    plain.push_back(character.value_or(html.front()));
    html.remove_prefix(character.has_value() ? semicolon + 1 : 1);
  }
  return plain;
}

// What a start tag's attributes say of a link.
struct LinkTag {
  size_t end = kEnd;  // Past its '>'; kEnd: it has none.
  // The first href's value, quotes included.
  size_t value_begin = kEnd;
  size_t value_end = kEnd;
  absl::string_view href;
  bool notrack = false;
};

// Reads attributes as browsers do. Positions are those in the whole text.
class AttributeReader {
 public:
  AttributeReader(absl::string_view html, size_t at) : html_(html), at_(at) {}

  LinkTag Read() {
    while (true) {
      Skip([](char c) { return absl::ascii_isspace(c) || c == '/'; });
      if (at_ >= html_.size()) return tag_;
      if (html_[at_] == '>') {
        tag_.end = at_ + 1;
        return tag_;
      }
      ReadAttribute();
    }
  }

 private:
  template <typename Predicate>
  absl::string_view Skip(Predicate predicate) {
    const size_t begin = at_;
    while (at_ < html_.size() && predicate(html_[at_])) ++at_;
    return html_.substr(begin, at_ - begin);
  }

  void ReadAttribute() {
    const size_t begin = at_;
    ++at_;  // A name may begin with '='.
    Skip([](char c) { return !absl::ascii_isspace(c) && c != '/' && c != '>' && c != '='; });
    const absl::string_view name = html_.substr(begin, at_ - begin);
    Skip([](char c) { return absl::ascii_isspace(c); });
    const size_t value_begin = at_;
    absl::string_view value;
    if (at_ < html_.size() && html_[at_] == '=') value = ReadValue();
    if (absl::EqualsIgnoreCase(name, "data-carillon-notrack")) tag_.notrack = true;
    if (absl::EqualsIgnoreCase(name, "href") && tag_.value_begin == kEnd) {
      tag_.value_begin = value_begin;
      tag_.value_end = at_;
      tag_.href = value;
    }
  }

  // From '=' to the end of the value.
  absl::string_view ReadValue() {
    ++at_;
    Skip([](char c) { return absl::ascii_isspace(c); });
    const char quote = at_ < html_.size() ? html_[at_] : '\0';
    if (quote != '"' && quote != '\'') {
      return Skip([](char c) { return !absl::ascii_isspace(c) && c != '>'; });
    }
    ++at_;
    const absl::string_view value = Skip([quote](char c) { return c != quote; });
    if (at_ < html_.size()) ++at_;
    return value;
  }

  const absl::string_view html_;
  size_t at_;
  LinkTag tag_;
};

class LinkRewriter {
 public:
  LinkRewriter(absl::string_view html, absl::string_view unsubscribe_url,
               absl::FunctionRef<std::string(const std::string& url)> link_for)
      : html_(html), unsubscribe_url_(unsubscribe_url), link_for_(link_for) {}

  std::string Run(const std::string& pixel_url) {
    while (at_ < html_.size()) {
      CopyTo(html_.find('<', at_));
      if (at_ < html_.size()) TakeMarkup();
    }
    if (!pixel_url.empty()) {
      out_.insert(std::min(body_end_, out_.size()),
                  absl::StrCat("<img src=\"", EscapeHtml(pixel_url), "\" width=\"1\" height=\"1\" alt=\"\">"));
    }
    return std::move(out_);
  }

 private:
  void CopyTo(size_t end) {
    const absl::string_view piece = html_.substr(at_, end == kEnd ? kEnd : end - at_);
    out_.append(piece.data(), piece.size());
    at_ += piece.size();
  }

  // At a '<'.
  void TakeMarkup() {
    const absl::string_view rest = html_.substr(at_);
    if (absl::StartsWith(rest, "<!--")) {
      const size_t end = html_.find("-->", at_ + 4);
      return CopyTo(end == kEnd ? kEnd : end + 3);
    }
    if (absl::StartsWithIgnoreCase(rest, "</body")) body_end_ = out_.size();
    if (rest.size() < 2 || !absl::ascii_isalpha(rest[1])) return CopyTo(at_ + 1);
    TakeStartTag();
  }

  void TakeStartTag() {
    size_t name_end = at_ + 1;
    while (name_end < html_.size() && !absl::ascii_isspace(html_[name_end]) && html_[name_end] != '/' &&
           html_[name_end] != '>') {
      ++name_end;
    }
    const absl::string_view name = html_.substr(at_ + 1, name_end - at_ - 1);
    const LinkTag tag = AttributeReader(html_, name_end).Read();
    if (tag.end != kEnd && absl::EqualsIgnoreCase(name, "a")) Rewrite(tag);
    CopyTo(tag.end);
    for (const absl::string_view raw : {"script", "style", "textarea", "title", "xmp"}) {
      if (absl::EqualsIgnoreCase(name, raw)) CopyTo(EndOf(raw));
    }
  }

  // Where an element whose content is no markup ends.
  size_t EndOf(absl::string_view name) const {
    for (size_t at = html_.find("</", at_); at != kEnd; at = html_.find("</", at + 2)) {
      if (absl::StartsWithIgnoreCase(html_.substr(at + 2), name)) return at;
    }
    return kEnd;
  }

  // Copies the tag up to the end of its href, with another value if it is tracked.
  void Rewrite(const LinkTag& tag) {
    if (tag.notrack || tag.value_begin == kEnd || tracked_ == limits::kMaxTrackedLinks) return;
    const std::string url(absl::StripAsciiWhitespace(UnescapeHtml(tag.href)));
    if (!IsTrackable(url)) return;
    const std::string link = link_for_(url);
    if (link.empty() || link == url) return;
    ++tracked_;
    CopyTo(tag.value_begin);
    absl::StrAppend(&out_, "=\"", EscapeHtml(link), "\"");
    at_ = tag.value_end;
  }

  bool IsTrackable(const std::string& url) const {
    const bool web = absl::StartsWithIgnoreCase(url, "http://") || absl::StartsWithIgnoreCase(url, "https://");
    return web && url != unsubscribe_url_ &&
           std::none_of(url.begin(), url.end(), [](unsigned char c) { return absl::ascii_iscntrl(c); });
  }

  const absl::string_view html_;
  const absl::string_view unsubscribe_url_;
  const absl::FunctionRef<std::string(const std::string& url)> link_for_;
  size_t at_ = 0;
  std::string out_;
  size_t body_end_ = kEnd;  // In `out_`.
  int tracked_ = 0;
};

}  // namespace

void TrackLinks(const std::string& pixel_url, absl::FunctionRef<std::string(const std::string& url)> link_for,
                v1::RenderedContent* content, absl::string_view unsubscribe_url) {
  if (content->html().empty()) return;
  content->set_html(LinkRewriter(content->html(), unsubscribe_url, link_for).Run(pixel_url));
}

}  // namespace carillon
