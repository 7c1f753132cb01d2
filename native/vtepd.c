/* The addon: its exports by name. No globals anywhere, so that each worker thread has an addon of its own. */
#include "exports.h"
#include "values.h"

NAPI_MODULE_INIT() {
  const napi_property_descriptor properties[] = {
      {.utf8name = "openRequestSocket", .method = open_request_socket, .attributes = napi_enumerable},
      {.utf8name = "openMonitor", .method = open_monitor, .attributes = napi_enumerable},
      {.utf8name = "sdNotify", .method = sd_notify, .attributes = napi_enumerable},
      {.utf8name = "lockFile", .method = lock_file, .attributes = napi_enumerable},
      {.utf8name = "setAmbient", .method = set_ambient, .attributes = napi_enumerable},
      {.utf8name = "demoteHelpers", .method = demote_helpers, .attributes = napi_enumerable},
      {.utf8name = "runProgram", .method = run_program, .attributes = napi_enumerable},
      {.utf8name = "openAnswerer", .method = open_answerer, .attributes = napi_enumerable},
  };
  CHECKED(napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties));
  return exports;
}
