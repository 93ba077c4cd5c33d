// The part of CatalogService that is about templates.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "carillon/ports/template_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/catalog_service.pb.h"

namespace carillon {

// Checks, acts and answers; one call each. Thread-safe. Blocks for PostgreSQL.
class TemplateRequests {
 public:
  TemplateRequests(std::shared_ptr<TemplateStore> store, const Catalogue& catalogue)
      : store_(std::move(store)), catalogue_(catalogue) {}

  absl::Status Apply(AppId app, const v1::ApplyTemplatesRequest& request, v1::ApplyTemplatesResponse* response);
  absl::Status Activate(AppId app, const v1::ActivateTemplateRequest& request, v1::ActivateTemplateResponse* response);
  absl::Status List(AppId app, const v1::ListTemplatesRequest& request, v1::ListTemplatesResponse* response);
  absl::Status Preview(AppId app, const v1::PreviewTemplateRequest& request, v1::PreviewTemplateResponse* response);

 private:
  // What a recipient of that locale would be sent.
  absl::StatusOr<v1::Template> Choose(AppId app, const v1::PreviewTemplateRequest& request);

  const std::shared_ptr<TemplateStore> store_;
  const Catalogue& catalogue_;
};

}  // namespace carillon
