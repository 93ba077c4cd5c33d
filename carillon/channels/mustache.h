// Mustache texts without logic of their own: {{name}}, {{{name}}} and {{&name}},
// {{#name}} .. {{/name}} over a list or for what is there, {{^name}} .. {{/name}}
// for what is not, {{! comments }}. Partials, blocks, lambdas and other delimiters
// are refused. A name's parts are parted by dots; {{.}} is the element of a list.
// Work and result are bounded whatever text and data are.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "carillon/domain/notification.h"

namespace carillon {

// A parsed text. Immutable, so thread-safe.
class Mustache {
 public:
  enum class Escape { kNone, kHtml };  // kHtml: & < > " ' of {{name}}, not of {{{name}}}.

  struct Rendered {
    std::string text;
    bool complete = true;  // False: cut where it became too long, or too much work.
  };

  // INVALID_ARGUMENT says what is wrong, in words for the author of the text.
  static absl::StatusOr<Mustache> Parse(absl::string_view text);

  // What is not there renders to nothing; `missing` takes the names of it, but for
  // those that a section asks for. `text` has at most `max_bytes`, and does not end
  // in the middle of a character.
  Rendered Render(const nlohmann::json& names, Escape escape, size_t max_bytes,
                  std::set<std::string>* missing = nullptr) const;

  // Whether a tag or a section asks for the name.
  bool Uses(absl::string_view name) const;
  bool has_sections() const;

 private:
  friend class MustacheParser;
  friend class MustacheRenderer;

  enum class Kind { kText, kName, kRawName, kSection, kInverted };
  struct Node {
    Kind kind = Kind::kText;
    std::string text;               // Of kText; else the whole name.
    std::vector<std::string> path;  // The parts of the name; none for {{.}}.
    size_t end = 0;                 // Of sections: its nodes end before this one.
  };

  std::vector<Node> nodes_;
};

// The names that every text may use: user_id, actor_id, object_id, type, data. Those
// that are empty are not there.
nlohmann::json NamesOf(const Notification& notification);

// Parsed once a thread and kept for a while; null if it is no valid text.
std::shared_ptr<const Mustache> CachedMustache(const std::string& text);

// & < > " ' as entities.
std::string EscapeHtml(absl::string_view plain);

// At most `max_bytes`, and not in the middle of a character.
void CutText(size_t max_bytes, std::string& text);

}  // namespace carillon
