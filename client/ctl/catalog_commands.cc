// types list, types apply.
#include <google/protobuf/util/json_util.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/json_file.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

absl::Status List(Context& context) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListTypesResponse all;
  v1::ListTypesRequest request;
  do {
    ASSIGN_OR_RETURN(const v1::ListTypesResponse page, client->ListTypes(request));
    all.mutable_types()->MergeFrom(page.types());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (context.json()) {
    std::printf("%s\n", ToJson(all).c_str());
    return absl::OkStatus();
  }
  Table table({"NAME", "WEIGHT", "ROUTING KEY", "KEPT", "TTL", "FROM"});
  for (const v1::Type& type : all.types()) {
    table.Add({type.name(), ShortName(v1::Weight_Name(type.weight()), "WEIGHT_"), type.routing_key(),
               absl::StrCat(type.retention_days(), " d"),
               type.has_ttl() ? absl::StrCat(type.ttl().seconds(), " s") : "-", type.shipped() ? "shipped" : "app"});
  }
  table.Print();
  return absl::OkStatus();
}

void LengthenField(nlohmann::json& object, const char* field, const std::string& prefix) {
  if (object.is_object() && object.contains(field)) LengthenEnum(object[field], prefix);
}

// What is not an array of types stays as it is: the parser names the fault.
std::string LengthenEnums(const std::string& text) {
  nlohmann::json types = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!types.is_array()) return text;
  for (nlohmann::json& type : types) {
    if (!type.is_object()) continue;
    LengthenField(type, "weight", "WEIGHT_");
    LengthenField(type, "exchange", "EXCHANGE_");
    LengthenField(type, "cap_overflow", "OVERFLOW_");
    LengthenField(type, "quiet_overflow", "OVERFLOW_");
    if (type.contains("caps")) {
      for (nlohmann::json& cap : type["caps"]) LengthenField(cap, "channel", "CHANNEL_");
    }
    if (!type.contains("channels")) continue;
    for (nlohmann::json& channel : type["channels"]) LengthenEnum(channel, "CHANNEL_");
  }
  return types.dump();
}

absl::Status Apply(Context& context, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string file, ReadFile(path));
  const std::string text = LengthenEnums(file);
  v1::ApplyTypesRequest request;
  // The file is an array of types; the request holds it in a field.
  const auto parsed = google::protobuf::util::JsonStringToMessage(absl::StrCat("{\"types\":", text, "}"), &request);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": must be a JSON array of types: ", std::string(parsed.message().data(), parsed.message().size())));
  }
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::ApplyTypesResponse applied, client->ApplyTypes(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(applied).c_str());
  } else {
    for (const v1::Type& type : applied.types()) std::printf("applied %s\n", type.name().c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddCatalogCommands(CLI::App& app, Context& context) {
  CLI::App* types = app.add_subcommand("types", "the catalogue of types");
  types->require_subcommand(1);
  AddCommand(*types, context, "list", "list the app's types and the shipped ones",
             [&context] { return List(context); });
  auto path = std::make_shared<std::string>();
  CLI::App* apply = AddCommand(*types, context, "apply", "add or replace types; live within seconds",
                               [&context, path] { return Apply(context, *path); });
  apply->add_option("FILE", *path, "a JSON array of types; -: standard input")->required();
}

}  // namespace carillon::ctl
