#include "tests/kit/test_vhost.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(TestVhost, ExistsWithPermissionsUntilItIsDestroyed) {
  std::string name;
  {
    const TestVhost vhost;
    name = vhost.name();
    EXPECT_THAT(vhost.url(), EndsWith("/" + name));
    EXPECT_THAT(Rabbitmqctl({"list_permissions", "-p", name}), HasSubstr(".*"));
  }
  EXPECT_THAT(Rabbitmqctl({"list_vhosts"}), Not(HasSubstr(name)));
}

}  // namespace
}  // namespace carillon::testing
