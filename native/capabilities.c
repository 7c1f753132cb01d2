/* setAmbient: what a program that we start inherits. */
#include "exports.h"
#include "values.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>

napi_value set_ambient(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value arguments[2];
  int64_t capability;
  bool raised;
  CHECKED(napi_get_cb_info(env, info, &argc, arguments, NULL, NULL));
  if (!read_integer(env, arguments[0], "capability", 0, CAP_LAST_CAP, &capability)) return NULL;
  if (!expect_type(env, arguments[1], napi_boolean, "raised must be a boolean")) return NULL;
  CHECKED(napi_get_value_bool(env, arguments[1], &raised));
  if (prctl(PR_CAP_AMBIENT, raised ? PR_CAP_AMBIENT_RAISE : PR_CAP_AMBIENT_LOWER, capability, 0, 0))
    return throw_errno(env, errno, "prctl");
  return NULL;
}
