// How large, how many and how old what gRPC takes may be.
#pragma once

#include <grpcpp/grpcpp.h>

namespace carillon {

void SetGrpcLimits(grpc::ServerBuilder& builder);
// For calls from within the process.
grpc::ChannelArguments InProcessArguments();

}  // namespace carillon
