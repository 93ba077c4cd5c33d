#include "carillon/channels/mustache.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

// Whole numbers without a fraction, as a person would write them.
std::string NumberText(const Json& number) {
  if (number.is_number_integer()) return number.dump();
  const double value = number.get<double>();
  constexpr double kExact = 9007199254740992.0;  // Larger ones are not told apart by one.
  if (value > -kExact && value < kExact && value == static_cast<double>(static_cast<int64_t>(value))) {
    return absl::StrFormat("%d", static_cast<int64_t>(value));
  }
  return number.dump();
}

// Nothing for lists, objects and null.
std::string ValueText(const Json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>();
  if (value.is_number()) return NumberText(value);
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  return "";
}

// What a section takes for something: not false, null, an empty text or list.
bool IsThere(const Json* value) {
  if (value == nullptr || value->is_null()) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_string()) return !value->get_ref<const std::string&>().empty();
  return !value->is_array() || !value->empty();
}

absl::string_view HtmlOf(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return "";
  }
}

// As much of a name as an error shows.
std::string Shown(absl::string_view name) {
  std::string text(name);
  CutText(60, text);
  return text;
}

}  // namespace

// Reads a text from the left; every byte a constant number of times.
class MustacheParser {
 public:
  explicit MustacheParser(absl::string_view text) : text_(text) {}

  absl::StatusOr<Mustache> Parse() {
    for (size_t open = text_.find("{{"); open != absl::string_view::npos; open = text_.find("{{", at_)) {
      AddText(text_.substr(at_, open - at_));
      RETURN_IF_ERROR(ReadTag(open));
    }
    AddText(text_.substr(at_));
    if (!open_.empty()) return Fault(absl::StrCat("{{#", Shown(nodes_[open_.back()].text), "}} is not closed"));
    Mustache parsed;
    parsed.nodes_ = std::move(nodes_);
    return parsed;
  }

 private:
  static absl::Status Fault(absl::string_view what) { return absl::InvalidArgumentError(what); }

  void AddText(absl::string_view text) {
    if (!text.empty()) nodes_.push_back({.kind = Mustache::Kind::kText, .text = std::string(text), .path = {}});
  }

  absl::Status ReadTag(size_t open) {
    const bool triple = absl::StartsWith(text_.substr(open), "{{{");
    const absl::string_view closing = triple ? "}}}" : "}}";
    const size_t begin = open + closing.size();
    const size_t close = text_.find(closing, begin);
    if (close == absl::string_view::npos) return Fault(absl::StrCat("a tag that begins with {{ has no ", closing));
    at_ = close + closing.size();
    absl::string_view tag = absl::StripAsciiWhitespace(text_.substr(begin, close - begin));
    if (triple) return AddName(Mustache::Kind::kRawName, tag);
    const char sigil = tag.empty() ? '\0' : tag.front();
    if (absl::string_view("#^/!&>=<$").find(sigil) == absl::string_view::npos || sigil == '\0') {
      return AddName(Mustache::Kind::kName, tag);
    }
    tag = absl::StripLeadingAsciiWhitespace(tag.substr(1));
    return ReadSigil(sigil, tag, open);
  }

  absl::Status ReadSigil(char sigil, absl::string_view tag, size_t open) {
    if (sigil == '&') return AddName(Mustache::Kind::kRawName, tag);
    if (absl::string_view("#^/!").find(sigil) == absl::string_view::npos) {
      return Fault(absl::StrCat("may not hold {{", absl::string_view(&sigil, 1),
                                "}} tags: no partials, blocks or other delimiters"));
    }
    SkipLineOf(open);
    if (sigil == '!') return absl::OkStatus();
    if (sigil == '/') return CloseSection(tag);
    RETURN_IF_ERROR(AddName(sigil == '#' ? Mustache::Kind::kSection : Mustache::Kind::kInverted, tag));
    open_.push_back(nodes_.size() - 1);
    if (open_.size() <= limits::kMaxSectionDepth) return absl::OkStatus();
    return Fault(absl::StrCat("sections may be nested ", limits::kMaxSectionDepth, " deep"));
  }

  absl::Status AddName(Mustache::Kind kind, absl::string_view name) {
    Mustache::Node node{.kind = kind, .text = std::string(name), .path = {}};
    if (name != ".") node.path = absl::StrSplit(name, '.');
    for (const std::string& part : node.path) {
      const bool odd = part.empty() || part.find_first_of("{}#^/&>") != std::string::npos;
      if (odd) return Fault(absl::StrCat("{{", Shown(name), "}} is no name"));
    }
    nodes_.push_back(std::move(node));
    return absl::OkStatus();
  }

  absl::Status CloseSection(absl::string_view name) {
    if (open_.empty() || nodes_[open_.back()].text != name) {
      return Fault(absl::StrCat("{{/", Shown(name), "}} closes no section that is open there"));
    }
    nodes_[open_.back()].end = nodes_.size();
    open_.pop_back();
    return absl::OkStatus();
  }

  // A section's tag or a comment that is alone on its lines leaves none behind.
  void SkipLineOf(size_t open) {
    const size_t line = open == 0 ? 0 : text_.find_last_not_of(" \t", open - 1) + 1;
    if (line != 0 && text_[line - 1] != '\n') return;
    const size_t rest = text_.find_first_not_of(" \t\r", at_);
    if (rest != absl::string_view::npos && text_[rest] != '\n') return;
    // What stood before it on its line is at the end of the last text, if anywhere.
    if (line < open) {
      std::string& before = nodes_.back().text;
      before.resize(before.size() - (open - line));
    }
    at_ = rest == absl::string_view::npos ? text_.size() : rest + 1;
  }

  const absl::string_view text_;
  size_t at_ = 0;
  std::vector<Mustache::Node> nodes_;
  std::vector<size_t> open_;  // Sections that are not closed yet.
};

class MustacheRenderer {
 public:
  MustacheRenderer(const std::vector<Mustache::Node>& nodes, const Json& names, Mustache::Escape escape,
                   size_t max_bytes, std::set<std::string>* missing)
      : nodes_(nodes), escape_(escape), max_bytes_(max_bytes), missing_(missing), scopes_{&names} {}

  Mustache::Rendered Run() {
    const bool complete = RenderNodes(0, nodes_.size());
    return {.text = std::move(out_), .complete = complete};
  }

 private:
  // False: stop here.
  bool RenderNodes(size_t begin, size_t end) {
    for (size_t i = begin; i < end;) {
      if (++steps_ > limits::kMaxRenderSteps || !RenderNode(i)) return false;
      const bool section = nodes_[i].kind == Mustache::Kind::kSection || nodes_[i].kind == Mustache::Kind::kInverted;
      i = section ? nodes_[i].end : i + 1;
    }
    return true;
  }

  bool RenderNode(size_t index) {
    const Mustache::Node& node = nodes_[index];
    if (node.kind == Mustache::Kind::kText) return Append(node.text);
    const Json* value = Find(node);
    if (node.kind == Mustache::Kind::kSection) return RenderSection(index, value);
    if (node.kind == Mustache::Kind::kInverted) return IsThere(value) || RenderNodes(index + 1, node.end);
    if (value == nullptr || value->is_null()) {
      if (missing_ != nullptr) missing_->insert(node.text);
      return true;
    }
    const bool escaped = node.kind == Mustache::Kind::kName && escape_ == Mustache::Escape::kHtml;
    return Append(escaped ? EscapeHtml(ValueText(*value)) : ValueText(*value));
  }

  bool RenderSection(size_t index, const Json* value) {
    if (!IsThere(value)) return true;
    if (!value->is_array()) return RenderIn(*value, index);
    for (const Json& element : *value) {
      if (++steps_ > limits::kMaxRenderSteps || !RenderIn(element, index)) return false;
    }
    return true;
  }

  bool RenderIn(const Json& scope, size_t index) {
    scopes_.push_back(&scope);
    const bool complete = RenderNodes(index + 1, nodes_[index].end);
    scopes_.pop_back();
    return complete;
  }

  // The innermost scope that has the first part decides.
  const Json* Find(const Mustache::Node& node) const {
    if (node.path.empty()) return scopes_.back();
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const Json* value = Member(**scope, node.path.front());
      if (value == nullptr) continue;
      for (size_t i = 1; i < node.path.size() && value != nullptr; ++i) value = Member(*value, node.path[i]);
      return value;
    }
    return nullptr;
  }

  static const Json* Member(const Json& object, const std::string& name) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
  }

  bool Append(absl::string_view text) {
    if (text.size() <= max_bytes_ - out_.size()) {
      out_.append(text.data(), text.size());
      return true;
    }
    out_.append(text.data(), max_bytes_ - out_.size() + 1);
    CutText(max_bytes_, out_);
    return false;
  }

  const std::vector<Mustache::Node>& nodes_;
  const Mustache::Escape escape_;
  const size_t max_bytes_;
  std::set<std::string>* const missing_;
  std::vector<const Json*> scopes_;
  int steps_ = 0;
  std::string out_;
};

absl::StatusOr<Mustache> Mustache::Parse(absl::string_view text) { return MustacheParser(text).Parse(); }

Mustache::Rendered Mustache::Render(const Json& names, Escape escape, size_t max_bytes,
                                    std::set<std::string>* missing) const {
  return MustacheRenderer(nodes_, names, escape, max_bytes, missing).Run();
}

bool Mustache::Uses(absl::string_view name) const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [&](const Node& node) { return node.kind != Kind::kText && node.text == name; });
}

bool Mustache::has_sections() const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const Node& node) { return node.kind == Kind::kSection || node.kind == Kind::kInverted; });
}

Json NamesOf(const Notification& notification) {
  Json names = Json::object();
  const auto set = [&names](const char* name, const std::string& value) {
    if (!value.empty()) names[name] = value;
  };
  set("user_id", notification.recipient.value());
  set("actor_id", notification.actor_id);
  set("object_id", notification.object_id);
  set("type", notification.type);
  Json data = Json::parse(notification.data_json, nullptr, /*allow_exceptions=*/false);
  if (data.is_object()) names["data"] = std::move(data);
  return names;
}

std::shared_ptr<const Mustache> CachedMustache(const std::string& text) {
  thread_local absl::flat_hash_map<std::string, std::shared_ptr<const Mustache>> cache;
  thread_local size_t cached_bytes = 0;
  const auto found = cache.find(text);
  if (found != cache.end()) return found->second;
  absl::StatusOr<Mustache> parsed = Mustache::Parse(text);
  if (cached_bytes + text.size() > limits::kMustacheCacheBytes || cache.size() >= limits::kMustacheCacheTexts) {
    cache.clear();
    cached_bytes = 0;
  }
  cached_bytes += text.size();
  auto kept = parsed.ok() ? std::make_shared<const Mustache>(*std::move(parsed)) : nullptr;
  cache[text] = kept;
  return kept;
}

std::string EscapeHtml(absl::string_view plain) {
  std::string html;
  html.reserve(plain.size() + plain.size() / 8);
  for (const char c : plain) {
    const absl::string_view entity = HtmlOf(c);
    if (entity.empty()) {
      html.push_back(c);
    } else {
      html.append(entity.data(), entity.size());
    }
  }
  return html;
}

void CutText(size_t max_bytes, std::string& text) {
  if (text.size() <= max_bytes) return;
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
}

}  // namespace carillon
