#include "values.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool succeeded(napi_env env, napi_status status) {
  if (status == napi_ok) return true;
  const napi_extended_error_info *info = NULL;
  char message[128] = "Node-API call failed";
  /* To be read before any other call replaces it. */
  if (napi_get_last_error_info(env, &info) == napi_ok && info->error_message != NULL)
    snprintf(message, sizeof message, "%s", info->error_message);
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending)
    napi_throw_error(env, "ERR_NAPI", message);
  return false;
}

napi_value throw_errno(napi_env env, int error, const char *syscall) {
  const char *code = strerrorname_np(error);
  const char *description = strerrordesc_np(error);
  char message[160];
  if (code == NULL) code = "UNKNOWN";
  snprintf(message, sizeof message, "%s: %s, %s", code, description ? description : "unknown error", syscall);
  napi_value text, thrown, value;
  CHECKED(napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text));
  CHECKED(napi_create_error(env, NULL, text, &thrown));
  /* Negative, as in Node's own system errors. */
  CHECKED(napi_create_int32(env, -error, &value));
  CHECKED(napi_set_named_property(env, thrown, "errno", value));
  CHECKED(napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &value));
  CHECKED(napi_set_named_property(env, thrown, "code", value));
  CHECKED(napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &value));
  CHECKED(napi_set_named_property(env, thrown, "syscall", value));
  CHECKED(napi_throw(env, thrown));
  return NULL;
}

napi_value throw_type(napi_env env, const char *message) {
  succeeded(env, napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message));
  return NULL;
}

napi_value throw_range(napi_env env, const char *message) {
  succeeded(env, napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message));
  return NULL;
}

bool expect_type(napi_env env, napi_value value, napi_valuetype type, const char *message) {
  napi_valuetype actual;
  if (!succeeded(env, napi_typeof(env, value, &actual))) return false;
  if (actual == type) return true;
  throw_type(env, message);
  return false;
}

bool read_integer(napi_env env, napi_value value, const char *what, int64_t min, int64_t max, int64_t *result) {
  char message[128];
  double number;
  snprintf(message, sizeof message, "%s must be a number", what);
  if (!expect_type(env, value, napi_number, message)) return false;
  if (!succeeded(env, napi_get_value_double(env, value, &number))) return false;
  /* The bounds first: NaN fails them, and the conversion is undefined outside of them. */
  if (!(number >= (double)min && number <= (double)max) || number != trunc(number)) {
    snprintf(message, sizeof message, "%s must be an integer from %lld to %lld", what, (long long)min,
             (long long)max);
    throw_range(env, message);
    return false;
  }
  *result = (int64_t)number;
  return true;
}

bool read_integer_property(napi_env env, napi_value object, const char *name, int64_t min, int64_t max,
                           int64_t *result) {
  napi_value value;
  if (!succeeded(env, napi_get_named_property(env, object, name, &value))) return false;
  return read_integer(env, value, name, min, max, result);
}

char *read_string(napi_env env, napi_value value, const char *what, size_t *length) {
  char message[64];
  size_t size;
  snprintf(message, sizeof message, "%s must be a string", what);
  if (!expect_type(env, value, napi_string, message)) return NULL;
  CHECKED(napi_get_value_string_utf8(env, value, NULL, 0, &size));
  char *text = malloc(size + 1);
  if (text == NULL) {
    throw_errno(env, ENOMEM, "malloc");
    return NULL;
  }
  if (!succeeded(env, napi_get_value_string_utf8(env, value, text, size + 1, length))) {
    free(text);
    return NULL;
  }
  return text;
}

bool read_bytes(napi_env env, napi_value value, const char *what, void **bytes, size_t *length) {
  char message[64];
  bool typed = false;
  napi_typedarray_type type = napi_int8_array;
  if (!succeeded(env, napi_is_typedarray(env, value, &typed))) return false;
  if (typed && !succeeded(env, napi_get_typedarray_info(env, value, &type, length, bytes, NULL, NULL))) return false;
  if (typed && type == napi_uint8_array) return true;
  snprintf(message, sizeof message, "%s must be a Uint8Array", what);
  throw_type(env, message);
  return false;
}

char *read_path(napi_env env, napi_value value, const char *what, size_t *length) {
  char *path = read_string(env, value, what, length);
  if (path == NULL) return NULL;
  if (*length > 0 && memchr(path, 0, *length) == NULL) return path;
  free(path);
  char message[64];
  snprintf(message, sizeof message, "%s must be a path: not empty, no NUL in it", what);
  throw_range(env, message);
  return NULL;
}

void *read_this(napi_env env, napi_callback_info info, const napi_type_tag *tag, size_t argc, napi_value *argv) {
  napi_value self;
  bool tagged = false;
  void *native = NULL;
  CHECKED(napi_get_cb_info(env, info, &argc, argv, &self, NULL));
  if (napi_check_object_type_tag(env, self, tag, &tagged) != napi_ok || !tagged)
    return throw_type(env, "The method was called on another object than the one it belongs to");
  CHECKED(napi_unwrap(env, self, &native));
  return native;
}

bool attach(napi_env env, napi_value object, void *native, napi_finalize finalize, const napi_type_tag *tag) {
  /* The tag first: when wrapping succeeds, nothing can fail any more that would leave `native` with two owners. */
  return succeeded(env, napi_type_tag_object(env, object, tag)) &&
         succeeded(env, napi_wrap(env, object, native, finalize, NULL, NULL));
}
