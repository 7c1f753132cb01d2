/* sdNotify: a word to systemd, as sd_notify(3) says it. */
#include "exports.h"
#include "values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* Returns 0, or errno and the call that failed. */
static int send_datagram(const struct sockaddr_un *address, socklen_t address_length, const char *text, size_t length,
                         const char **syscall) {
  *syscall = "socket";
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int error = 0;
  /* The kernel doubles the size and counts its own overhead too: enough for `length`. Refused? Then sendto says so. */
  int send_buffer_bytes = length < (1 << 28) ? (int)length + 65536 : 1 << 28;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer_bytes, sizeof send_buffer_bytes) != 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer_bytes, sizeof send_buffer_bytes);
  /* A full queue of the receiver must not hold the event loop for longer than this. */
  const struct timeval patience = {.tv_sec = 1};
  *syscall = "setsockopt";
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
    error = errno;
  } else {
    ssize_t sent;
    *syscall = "sendto";
    do
      sent = sendto(fd, text, length, MSG_NOSIGNAL, (const struct sockaddr *)address, address_length);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) error = errno;
  }
  close(fd);
  return error;
}

napi_value sd_notify(napi_env env, napi_callback_info info) {
  size_t argc = 2, path_length, text_length;
  napi_value argv[2];
  CHECKED(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  char *path = read_path(env, argv[0], "socketPath", &path_length);
  if (path == NULL) return NULL;
  char *text = read_string(env, argv[1], "text", &text_length);
  if (text == NULL) {
    free(path);
    return NULL;
  }
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *syscall = "sendto";
  int error = ENAMETOOLONG;
  if (path_length < sizeof address.sun_path) {
    memcpy(address.sun_path, path, path_length);
    /* An abstract name is not ended by a NUL but by the length; it begins with one, which systemd writes as @. */
    if (path[0] == '@') address.sun_path[0] = 0;
    socklen_t address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_length);
    error = send_datagram(&address, address_length, text, text_length, &syscall);
  }
  free(path);
  free(text);
  return error == 0 ? NULL : throw_errno(env, error, syscall);
}
