#include "tests/contract/postgres/window_fixture.h"

#include "absl/strings/escaping.h"
#include "carillon/wire/envelope.h"

namespace carillon::testing {

DueWindow WindowTest::Waiting() {
  EXPECT_EQ(WindowsThatWait(), "1");
  const std::string payload = OfApp("SELECT encode(payload, 'hex') FROM schedules", " AND cause = 'window'");
  const absl::StatusOr<EnvelopeContents> contents = DecodeContents(absl::HexStringToBytes(payload));
  EXPECT_OK(contents);
  if (!contents.ok() || contents->windows.empty()) return DueWindow();
  return contents->windows.front();
}

std::vector<GatheredWindow> WindowTest::End(const DueWindow& window) {
  const WindowEnd end{.window = &window,
                      .id = NewUuid7(absl::Now()),
                      .retention_days = 30,
                      .lane = Lane::kSocial,
                      .exchange = "carillon.direct",
                      .routing_key = "social.like"};
  std::vector<GatheredWindow> ended;
  const absl::StatusOr<int> count = store_.EndWindows({end}, [&](size_t, const GatheredWindow& gathered) {
    ended = {gathered};
    return std::vector<NewDelivery>{
        {.id = NewUuid7(absl::Now()), .channel = Channel::kEmail, .device_id = "", .fate = {}, .envelope = "sent"}};
  });
  EXPECT_THAT(count, IsOkAndHolds(static_cast<int>(ended.size())));
  return ended;
}

}  // namespace carillon::testing
