// The RPCs as routes of the HTTP port.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/channel.h>

#include <memory>
#include <vector>

#include "carillon/ports/clock.h"
#include "carillon/runtime/executor.h"
#include "server/connect/connect_calls.h"
#include "server/http/router.h"

namespace carillon {

// The services of carillon.v1; AdminService only with operations.
std::vector<const google::protobuf::ServiceDescriptor*> PublicServices(bool with_operations);

// Serves every method of the services by the Connect protocol: POST
// /carillon.v1.Service/Method, in JSON or as protobuf, without compression. Unary
// methods and server streams. Thread-safe.
class ConnectRoutes {
 public:
  // Everything given outlives it. The channel leads to this process's own gRPC server.
  ConnectRoutes(std::shared_ptr<grpc::Channel> channel, const MessageJson& json, Executor& executor,
                const Clock& clock);

  // It outlives the router.
  void AddTo(Router& router, const std::vector<const google::protobuf::ServiceDescriptor*>& services);

  // Refuses new calls and lets unary ones that are under way be answered, for `limit` at
  // most: before the gRPC server's shutdown, which cuts what comes in-process at once.
  void Drain(absl::Duration limit);
  // Refuses new calls and waits for those under way: after the gRPC server's shutdown,
  // which ends them. Those whose client doesn't read end with the HTTP port: again after
  // that. Idempotent.
  void Stop();

 private:
  void AddMethod(Router& router, const google::protobuf::MethodDescriptor& method);

  ConnectCalls calls_;
};

}  // namespace carillon
