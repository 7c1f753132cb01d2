/* lockFile: one process at a time. */
#include "exports.h"
#include "values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

napi_value lock_file(napi_env env, napi_callback_info info) {
  size_t argc = 1, length;
  napi_value argument, result;
  CHECKED(napi_get_cb_info(env, info, &argc, &argument, NULL, NULL));
  char *path = read_path(env, argument, "path", &length);
  if (path == NULL) return NULL;
  int fd, failed, error = 0;
  const char *syscall = "open";
  do
    /* Whoever may write to the directory must not lead root, who truncates the file and gives it away, to another one. */
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) error = errno;
  free(path);
  if (fd < 0) return throw_errno(env, error, syscall);

  syscall = "flock";
  do
    failed = flock(fd, LOCK_EX | LOCK_NB);
  while (failed && errno == EINTR);
  if (failed) {
    error = errno;
    close(fd);
    fd = -1;
    if (error != EWOULDBLOCK) return throw_errno(env, error, syscall);
  }
  if (!succeeded(env, napi_create_int32(env, fd, &result))) {
    if (fd >= 0) close(fd);
    return NULL;
  }
  return result;
}
