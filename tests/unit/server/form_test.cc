#include "server/http/form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;

HttpRequest Posted(const std::string& type, const std::string& body) {
  return {.method = "POST", .headers = {{"content-type", type}}, .body = body};
}

TEST(Form, DecodesUrlEncodedFields) {
  EXPECT_THAT(ParseUrlEncoded("a=1&b=x+y%2Bz&c=&d&a=2"),
              Optional(ElementsAre(Pair("a", "1"), Pair("b", "x y+z"), Pair("c", ""), Pair("d", ""))));
  EXPECT_THAT(ParseUrlEncoded(""), Optional(IsEmpty()));
}

TEST(Form, RefusesBrokenPercentSignsAndTooManyFields) {
  for (const char* text : {"a=%", "a=%4", "a=%zz", "%=1"}) EXPECT_EQ(ParseUrlEncoded(text), std::nullopt) << text;
  std::string many;
  for (int i = 0; i < 101; ++i) absl::StrAppend(&many, "f", i, "=1&");
  EXPECT_EQ(ParseUrlEncoded(many), std::nullopt);
}

TEST(Form, ReadsAOneClickFormEitherWay) {
  const std::string multipart =
      "--bOundary\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--bOundary--\r\n";
  for (const HttpRequest& request :
       {Posted("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click"),
        Posted("Application/X-WWW-Form-Urlencoded; charset=utf-8", "List-Unsubscribe=One%2DClick"),
        Posted("multipart/form-data; boundary=bOundary", multipart),
        Posted("multipart/form-data; boundary=\"bOundary\"", "preamble\r\n" + multipart)}) {
    const std::optional<FormFields> form = ParseForm(request);
    ASSERT_TRUE(form.has_value());
    EXPECT_EQ(FieldOf(*form, "List-Unsubscribe"), "One-Click");
  }
}

TEST(Form, ReadsSeveralPartsAndEmptyOnes) {
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--b\r\n"
      "content-disposition: form-data; name=c; filename=\"x\"\r\nContent-Type: text/plain\r\n\r\n\r\n--b--";
  EXPECT_THAT(ParseForm(Posted("multipart/form-data; boundary=b", body)),
              Optional(ElementsAre(Pair("a", "1\r\n2"), Pair("c", ""))));
}

TEST(Form, RefusesWhatIsNoForm) {
  for (const auto& [type, body] : {std::pair{"application/json", "{}"},
                                   {"", "a=1"},
                                   {"multipart/form-data", "--b--"},
                                   {"multipart/form-data; boundary=b", "no delimiter"},
                                   {"multipart/form-data; boundary=b", "--b\r\nno end of the headers"},
                                   {"multipart/form-data; boundary=b", "--b\r\nA: b\r\n\r\nno closing delimiter"},
                                   {"multipart/form-data; boundary=b", "--b\r\n--b\r\n\r\n--b--"}}) {
    EXPECT_EQ(ParseForm(Posted(type, body)), std::nullopt) << type << " " << body;
  }
}

}  // namespace
}  // namespace carillon
