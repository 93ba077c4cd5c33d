# The flags of our own code, set before any target exists so that every one has them.
add_library(carillon_flags INTERFACE)
target_compile_options(carillon_flags INTERFACE -Wall -Wextra -Werror -Wno-missing-field-initializers)
target_include_directories(carillon_flags INTERFACE ${PROJECT_SOURCE_DIR})
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Lock annotations mean something to clang only.
  target_compile_options(carillon_flags INTERFACE -Wthread-safety -Wno-unused-command-line-argument)
else()
  # ccache can reuse what was built with a precompiled header.
  target_compile_options(carillon_flags INTERFACE -fpch-preprocess)
endif()

# Two precompiled headers: what nearly all code includes, and gRPC on top of it.
file(WRITE ${CMAKE_BINARY_DIR}/pch/pch.cc "// Carries the precompiled header.\n")
set(CARILLON_PCH_HEADERS
  <algorithm> <array> <atomic> <cstdint> <deque> <functional> <map> <memory> <optional> <string> <absl/strings/string_view.h> <thread>
  <utility> <vector> <absl/container/flat_hash_map.h> <absl/status/status.h> <absl/status/statusor.h>
  <absl/strings/str_cat.h> <absl/strings/str_format.h> <absl/synchronization/mutex.h> <absl/time/time.h> <absl/types/span.h>)
add_library(carillon_pch OBJECT ${CMAKE_BINARY_DIR}/pch/pch.cc)
target_link_libraries(carillon_pch PUBLIC carillon_flags absl::status absl::statusor absl::strings absl::str_format
  absl::synchronization absl::time absl::flat_hash_map Threads::Threads)
target_precompile_headers(carillon_pch PRIVATE ${CARILLON_PCH_HEADERS})
add_library(carillon_grpc_pch OBJECT ${CMAKE_BINARY_DIR}/pch/pch.cc)
target_link_libraries(carillon_grpc_pch PUBLIC carillon_flags absl::status absl::statusor absl::strings absl::str_format
  absl::synchronization absl::time absl::flat_hash_map Threads::Threads gRPC::grpc++)
target_precompile_headers(carillon_grpc_pch PRIVATE ${CARILLON_PCH_HEADERS} <grpcpp/grpcpp.h>)

# carillon_library(name SOURCES a.cc b.cc [GRPC] [TEST] DEPS target...)
# carillon_binary(name SOURCES ... [GRPC] DEPS ...)
# A folder is a target; GRPC picks the precompiled header that knows gRPC, TEST those of
# tests/CMakeLists.txt.
function(carillon_target_setup name)
  cmake_parse_arguments(ARG "GRPC;TEST" "" "SOURCES;DEPS" ${ARGN})
  set(test)
  if(ARG_TEST)
    set(test _test)
    target_compile_options(${name} PRIVATE ${CARILLON_TEST_OPTIONS})
  endif()
  target_sources(${name} PRIVATE ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC carillon_flags absl::status absl::statusor absl::strings absl::str_format
    absl::synchronization absl::time absl::flat_hash_map absl::span Threads::Threads ${ARG_DEPS})
  if(ARG_GRPC)
    target_precompile_headers(${name} REUSE_FROM carillon_grpc${test}_pch)
    target_link_libraries(${name} PUBLIC gRPC::grpc++)
  else()
    target_precompile_headers(${name} REUSE_FROM carillon${test}_pch)
  endif()
endfunction()

function(carillon_library name)
  add_library(${name} STATIC)
  carillon_target_setup(${name} ${ARGN})
endfunction()

# Programs allocate with jemalloc: about a tenth less CPU under load than with
# glibc's allocator, and no heap that only grows.
function(carillon_binary name)
  add_executable(${name})
  carillon_target_setup(${name} ${ARGN})
  if(NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    target_link_libraries(${name} PRIVATE PkgConfig::JEMALLOC)
  endif()
endfunction()
