#include "carillon/channels/sms_segments.h"

#include <algorithm>
#include <string>
#include <vector>

namespace carillon {
namespace {

// How many units of an encoding a message holds.
struct Encoding {
  const char* name;
  int alone;
  int in_each;
};
constexpr Encoding kGsm7 = {"GSM-7", 160, 153};
constexpr Encoding kUcs2 = {"UCS-2", 70, 67};

// GSM 03.38: the basic table in its order, without the escape; the extension table.
constexpr std::u32string_view kBasic =
    U"@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    U"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
constexpr std::u32string_view kExtension = U"\f^{}\\[~]|€";

// Takes one character off well-formed UTF-8.
char32_t TakeCharacter(absl::string_view& text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t character = length == 1 ? lead : lead & (0xff >> (length + 1));
  for (size_t i = 1; i < length && i < text.size(); ++i) {
    character = character << 6 | (static_cast<unsigned char>(text[i]) & 0x3f);
  }
  text.remove_prefix(std::min(length, text.size()));
  return character;
}

// Units of GSM-7; 0 if it has no such character.
int GsmUnits(char32_t character) {
  if (kBasic.find(character) != std::u32string_view::npos) return 1;
  return kExtension.find(character) != std::u32string_view::npos ? 2 : 0;
}

int UtfUnits(char32_t character) { return character > 0xffff ? 2 : 1; }

// `units`: of each character, 1 or 2.
v1::SmsSegments Pack(const Encoding& encoding, const std::vector<int>& units) {
  int total = 0;
  int segments = 0;
  int room = 0;
  for (const int count : units) {
    total += count;
    if (count > room) {
      ++segments;
      room = encoding.in_each;
    }
    room -= count;
  }
  v1::SmsSegments out;
  out.set_encoding(encoding.name);
  out.set_characters(total);
  out.set_segments(total <= encoding.alone ? std::min(segments, 1) : segments);
  return out;
}

}  // namespace

v1::SmsSegments CountSmsSegments(absl::string_view text) {
  std::vector<int> gsm;
  std::vector<int> utf;
  while (!text.empty()) {
    const char32_t character = TakeCharacter(text);
    gsm.push_back(GsmUnits(character));
    utf.push_back(UtfUnits(character));
  }
  const bool is_gsm = std::find(gsm.begin(), gsm.end(), 0) == gsm.end();
  return is_gsm ? Pack(kGsm7, gsm) : Pack(kUcs2, utf);
}

}  // namespace carillon
