/* What the addon exports, one function each; their contract is index.d.ts. */
#ifndef VTEPD_EXPORTS_H
#define VTEPD_EXPORTS_H

#include <node_api.h>

napi_value open_request_socket(napi_env env, napi_callback_info info);
napi_value open_monitor(napi_env env, napi_callback_info info);
napi_value sd_notify(napi_env env, napi_callback_info info);
napi_value lock_file(napi_env env, napi_callback_info info);
napi_value demote_helpers(napi_env env, napi_callback_info info);
napi_value set_ambient(napi_env env, napi_callback_info info);
napi_value run_program(napi_env env, napi_callback_info info);
napi_value open_answerer(napi_env env, napi_callback_info info);

#endif
