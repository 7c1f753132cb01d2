/* JavaScript values: reading arguments, throwing errors. Whatever returns false or NULL has thrown. */
#ifndef VTEPD_VALUES_H
#define VTEPD_VALUES_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Leaves a function that returns napi_value when a Node-API call failed. */
#define CHECKED(call)                                                                                        \
  do {                                                                                                       \
    if (!succeeded(env, (call))) return NULL;                                                                \
  } while (0)

bool succeeded(napi_env env, napi_status status);

/* Throws the error of a system call as index.d.ts has it (NativeError). */
napi_value throw_errno(napi_env env, int error, const char *syscall);
napi_value throw_type(napi_env env, const char *message);
napi_value throw_range(napi_env env, const char *message);

/* A number that is whole and within the bounds; `what` names it in the error. */
bool read_integer(napi_env env, napi_value value, const char *what, int64_t min, int64_t max, int64_t *result);
bool read_integer_property(napi_env env, napi_value object, const char *name, int64_t min, int64_t max,
                           int64_t *result);
/* A string in UTF-8 with a NUL behind it, for the caller to free. */
char *read_string(napi_env env, napi_value value, const char *what, size_t *length);
/* The same for a path, in which a NUL would silently cut off the rest. */
char *read_path(napi_env env, napi_value value, const char *what, size_t *length);
/* The bytes of a Uint8Array, where it has them; `what` names it in the error. */
bool read_bytes(napi_env env, napi_value value, const char *what, void **bytes, size_t *length);
bool expect_type(napi_env env, napi_value value, napi_valuetype type, const char *message);

/* The native half of `this`, if it is an object with that tag; at most `argc` arguments go to `argv`. */
void *read_this(napi_env env, napi_callback_info info, const napi_type_tag *tag, size_t argc, napi_value *argv);
/* Makes `object` the JavaScript half of `native`. */
bool attach(napi_env env, napi_value object, void *native, napi_finalize finalize, const napi_type_tag *tag);

#endif
