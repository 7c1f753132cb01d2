/* demoteHelpers: whose turn it is, between this thread and the others of its process. */
#include "exports.h"
#include "values.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* 0, or the error of the call that `*syscall` names. A thread that has ended meanwhile is none. */
static int demote(pid_t thread, int nice, const char **syscall) {
  const struct sched_param parameters = {0};
  *syscall = "sched_setscheduler";
  if (sched_setscheduler(thread, SCHED_BATCH, &parameters)) return errno == ESRCH ? 0 : errno;
  *syscall = "setpriority";
  if (setpriority(PRIO_PROCESS, thread, nice)) return errno == ESRCH ? 0 : errno;
  return 0;
}

napi_value demote_helpers(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argument;
  int64_t nice;
  CHECKED(napi_get_cb_info(env, info, &argc, &argument, NULL, NULL));
  if (!read_integer(env, argument, "nice", 0, 19, &nice)) return NULL;
  DIR *threads = opendir("/proc/self/task");
  if (threads == NULL) return throw_errno(env, errno, "opendir");
  const pid_t self = gettid();
  const char *syscall = NULL;
  const struct dirent *entry;
  int error = 0;
  while (error == 0 && (entry = readdir(threads)) != NULL) {
    pid_t thread = atoi(entry->d_name);
    if (thread > 0 && thread != self) error = demote(thread, nice, &syscall);
  }
  closedir(threads);
  return error ? throw_errno(env, error, syscall) : NULL;
}
