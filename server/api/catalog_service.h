// CatalogService: the types of an app, its preferences, and its templates.
#pragma once

#include <memory>

#include "carillon/ports/catalog_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/catalog_service.grpc.pb.h"
#include "server/api/app_preferences.h"
#include "server/api/template_requests.h"
#include "server/api/unary_call.h"

namespace carillon {

class CatalogServiceImpl final : public v1::CatalogService::CallbackService {
 public:
  CatalogServiceImpl(ServerCalls& calls, std::shared_ptr<CatalogStore> store, std::shared_ptr<TemplateStore> templates,
                     std::shared_ptr<SettingsStore> settings, Catalogue& catalogue)
      : calls_(calls),
        store_(std::move(store)),
        catalogue_(catalogue),
        preferences_(std::move(settings), catalogue),
        templates_(std::move(templates), catalogue) {}

  grpc::ServerUnaryReactor* ApplyTypes(grpc::CallbackServerContext* context, const v1::ApplyTypesRequest* request,
                                       v1::ApplyTypesResponse* response) override;
  grpc::ServerUnaryReactor* ListTypes(grpc::CallbackServerContext* context, const v1::ListTypesRequest* request,
                                      v1::ListTypesResponse* response) override;
  grpc::ServerUnaryReactor* SetAppPreferences(grpc::CallbackServerContext* context,
                                              const v1::SetAppPreferencesRequest* request,
                                              v1::SetAppPreferencesResponse* response) override;
  grpc::ServerUnaryReactor* GetAppPreferences(grpc::CallbackServerContext* context,
                                              const v1::GetAppPreferencesRequest* request,
                                              v1::GetAppPreferencesResponse* response) override;
  grpc::ServerUnaryReactor* ApplyTemplates(grpc::CallbackServerContext* context,
                                           const v1::ApplyTemplatesRequest* request,
                                           v1::ApplyTemplatesResponse* response) override;
  grpc::ServerUnaryReactor* ActivateTemplate(grpc::CallbackServerContext* context,
                                             const v1::ActivateTemplateRequest* request,
                                             v1::ActivateTemplateResponse* response) override;
  grpc::ServerUnaryReactor* ListTemplates(grpc::CallbackServerContext* context, const v1::ListTemplatesRequest* request,
                                          v1::ListTemplatesResponse* response) override;
  grpc::ServerUnaryReactor* PreviewTemplate(grpc::CallbackServerContext* context,
                                            const v1::PreviewTemplateRequest* request,
                                            v1::PreviewTemplateResponse* response) override;

 private:
  absl::Status Apply(AppId app, const v1::ApplyTypesRequest& request, v1::ApplyTypesResponse* response);
  absl::Status List(AppId app, const v1::ListTypesRequest& request, v1::ListTypesResponse* response);

  ServerCalls& calls_;
  const std::shared_ptr<CatalogStore> store_;
  Catalogue& catalogue_;
  AppPreferences preferences_;
  TemplateRequests templates_;
};

}  // namespace carillon
