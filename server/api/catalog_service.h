// CatalogService: the types of an app.
#pragma once

#include <memory>

#include "carillon/ports/catalog_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/catalog_service.grpc.pb.h"
#include "server/api/unary_call.h"

namespace carillon {

class CatalogServiceImpl final : public v1::CatalogService::CallbackService {
 public:
  CatalogServiceImpl(ServerCalls& calls, std::shared_ptr<CatalogStore> store, Catalogue& catalogue)
      : calls_(calls), store_(std::move(store)), catalogue_(catalogue) {}

  grpc::ServerUnaryReactor* ApplyTypes(grpc::CallbackServerContext* context, const v1::ApplyTypesRequest* request,
                                       v1::ApplyTypesResponse* response) override;
  grpc::ServerUnaryReactor* ListTypes(grpc::CallbackServerContext* context, const v1::ListTypesRequest* request,
                                      v1::ListTypesResponse* response) override;

 private:
  absl::Status Apply(AppId app, const v1::ApplyTypesRequest& request, v1::ApplyTypesResponse* response);
  absl::Status List(AppId app, const v1::ListTypesRequest& request, v1::ListTypesResponse* response);

  ServerCalls& calls_;
  const std::shared_ptr<CatalogStore> store_;
  Catalogue& catalogue_;
};

}  // namespace carillon
