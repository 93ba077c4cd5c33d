#include "server/connect/connect_routes.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/runtime/logging.h"
#include "carillon/v1/admin_service.pb.h"
#include "carillon/v1/catalog_service.pb.h"
#include "carillon/v1/feed_service.pb.h"
#include "carillon/v1/notification_service.pb.h"
#include "carillon/v1/recipient_service.pb.h"
#include "server/connect/connect_stream.h"
#include "server/connect/connect_unary.h"

namespace carillon {
namespace {

constexpr absl::Duration kStopTime = absl::Seconds(2);

// Of a file that has one.
template <typename Message>
const google::protobuf::ServiceDescriptor* ServiceBeside() {
  return Message::descriptor()->file()->service(0);
}

}  // namespace

std::vector<const google::protobuf::ServiceDescriptor*> PublicServices(bool with_operations) {
  std::vector<const google::protobuf::ServiceDescriptor*> services = {
      ServiceBeside<v1::SendNotificationRequest>(), ServiceBeside<v1::SubscribeRequest>(),
      ServiceBeside<v1::FollowRequest>(), ServiceBeside<v1::ListTypesRequest>()};
  if (with_operations) services.push_back(ServiceBeside<v1::ListQueuesRequest>());
  return services;
}

ConnectRoutes::ConnectRoutes(std::shared_ptr<grpc::Channel> channel, const MessageJson& json, Executor& executor,
                             const Clock& clock)
    : calls_{.stub = ConnectCalls::Stub(std::move(channel)), .json = json, .executor = executor, .clock = clock} {}

void ConnectRoutes::AddTo(Router& router, const std::vector<const google::protobuf::ServiceDescriptor*>& services) {
  for (const google::protobuf::ServiceDescriptor* const service : services) {
    for (int i = 0; i < service->method_count(); ++i) AddMethod(router, *service->method(i));
    router.Add(
        "POST", absl::StrCat("/", service->full_name(), "/"),
        [service](const HttpRequest&, const HttpRespond& respond) {
          respond(ErrorResponse(404, "unimplemented", absl::StrCat(service->full_name(), " has no such method")));
        });
  }
}

void ConnectRoutes::AddMethod(Router& router, const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return;
  const auto answer = method.server_streaming() ? AnswerStream : AnswerUnary;
  router.Add("POST", PathOf(method), [this, &method, answer](HttpRequest request, HttpRespond respond) {
    answer(calls_, method, std::move(request), std::move(respond));
  });
}

void ConnectRoutes::Drain(absl::Duration limit) {
  if (!calls_.count.CloseUnary(limit)) log::Warn("http.drain_overdue", {});
}

void ConnectRoutes::Stop() {
  if (!calls_.count.Close(kStopTime)) log::Warn("http.calls_left", {});
}

}  // namespace carillon
