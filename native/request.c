/* openRequestSocket: requests to the kernel, and its answers. */
#include "exports.h"
#include "netlink.h"
#include "values.h"

#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* One batch of a few thousand messages; the kernel takes no datagram that is longer than the send buffer. */
#define SEND_BUFFER_BYTES (1 << 20)
/* receive() takes another datagram while it has less than this: a part of a dump that is read in some milliseconds … */
#define ENOUGH_BYTES (64 << 10)
/* … and has that much room for it: dumps come in at most 32 KiB, only a link with very many VFs takes more. */
#define DATAGRAM_BYTES (256 << 10)

struct request_socket {
  int fd; /* -1 once closed */
  int timeout_milliseconds;
  int error; /* seen behind messages that came before it: for the next receive() */
  int last_index; /* of an interface that was asked for by name; 0: none yet */
  unsigned char *buffer;
};

static const napi_type_tag REQUEST_SOCKET = {0x6b1c0f5e7d2a4c93, 0x8f3e9a51b7d64e02};

static void close_socket(struct request_socket *request) {
  if (request->fd >= 0) close(request->fd);
  request->fd = -1;
  free(request->buffer);
  request->buffer = NULL;
}

static void finalize(napi_env env, void *data, void *hint) {
  close_socket(data);
  free(data);
}

static napi_value request_send(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct request_socket *request = read_this(env, info, &REQUEST_SOCKET, 1, &argument);
  if (request == NULL) return NULL;
  void *messages = NULL;
  size_t length = 0;
  if (!read_bytes(env, argument, "messages", &messages, &length)) return NULL;
  if (request->fd < 0) return throw_errno(env, EBADF, "sendto");
  /* A pointer to nothing is not an error of ours: the kernel refuses an empty datagram by itself (ENODATA). */
  if (!netlink_send(request->fd, length > 0 ? messages : "", length)) return throw_errno(env, errno, "sendto");
  return NULL;
}

static int64_t monotonic_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 0 when something arrived, else errno: EAGAIN after the deadline. A signal does not prolong the wait. */
static int await_answer(int fd, int64_t deadline) {
  for (;;) {
    int64_t left = deadline - monotonic_milliseconds();
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, left > 0 ? (int)left : 0);
    if (ready > 0) return 0;
    if (ready == 0) return EAGAIN;
    if (errno != EINTR) return errno;
  }
}

/* Fills the buffer with what is there, waiting for the first datagram only. Returns 0 or errno. */
static int receive_answers(struct request_socket *request, size_t *length) {
  int64_t deadline = monotonic_milliseconds() + request->timeout_milliseconds;
  *length = 0;
  while (*length < ENOUGH_BYTES) {
    ssize_t received = netlink_receive(request->fd, request->buffer + *length, DATAGRAM_BYTES);
    if (received > 0) {
      *length += (size_t)received;
    } else if (received == 0) {
      /* Whoever floods us with foreign datagrams must not keep us here. */
      if (monotonic_milliseconds() >= deadline) return *length > 0 ? 0 : EAGAIN;
    } else if (errno != EAGAIN) {
      if (*length == 0) return errno;
      request->error = errno;
      return 0;
    } else {
      if (*length > 0) return 0;
      int error = await_answer(request->fd, deadline);
      if (error != 0) return error;
    }
  }
  return 0;
}

static napi_value request_receive(napi_env env, napi_callback_info info) {
  struct request_socket *request = read_this(env, info, &REQUEST_SOCKET, 0, NULL);
  if (request == NULL) return NULL;
  if (request->fd < 0) return throw_errno(env, EBADF, "recvfrom");
  size_t length = 0;
  int error = request->error;
  request->error = 0;
  if (error == 0) error = receive_answers(request, &length);
  if (error != 0) return throw_errno(env, error, "recvfrom");
  napi_value messages;
  CHECKED(napi_create_buffer_copy(env, length, request->buffer, NULL, &messages));
  return messages;
}

/* The index of the interface with that very name, 0 if there is none; -1 and errno when the kernel does not say. */
static int interface_index(struct request_socket *request, const char *name, size_t length) {
  struct ifreq found = {0};
  if (length == 0 || length >= IFNAMSIZ || strlen(name) != length) return 0;
  /* Mostly it is the one that was asked for last, and is still there. */
  if (request->last_index > 0 && netlink_has_name(request->fd, request->last_index, name) == 1)
    return request->last_index;
  memcpy(found.ifr_name, name, length);
  if (ioctl(request->fd, SIOCGIFINDEX, &found) != 0) return errno == ENODEV ? 0 : -1;
  int named = netlink_has_name(request->fd, found.ifr_ifindex, name);
  if (named <= 0) return named;
  return request->last_index = found.ifr_ifindex;
}

static napi_value request_interface_index(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  struct request_socket *request = read_this(env, info, &REQUEST_SOCKET, 1, &argument);
  if (request == NULL) return NULL;
  size_t length;
  char *name = read_string(env, argument, "name", &length);
  if (name == NULL) return NULL;
  errno = EBADF;
  int index = request->fd < 0 ? -1 : interface_index(request, name, length);
  int error = errno;
  free(name);
  if (index < 0) return throw_errno(env, error, "ioctl");
  CHECKED(napi_create_int32(env, index, &result));
  return result;
}

static napi_value request_close(napi_env env, napi_callback_info info) {
  struct request_socket *request = read_this(env, info, &REQUEST_SOCKET, 0, NULL);
  if (request != NULL) close_socket(request);
  return NULL;
}

/* Opens the socket of `request` as the options say. Returns 0, or errno and the call that failed. */
static int open_socket(struct request_socket *request, int protocol, int receive_buffer_bytes, uint32_t *port_id,
                       const char **syscall) {
  static const int options[] = {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK};
  const int on = 1, send_buffer_bytes = SEND_BUFFER_BYTES;
  *syscall = "malloc";
  request->buffer = malloc(ENOUGH_BYTES + DATAGRAM_BYTES);
  if (request->buffer == NULL) return ENOMEM;
  request->fd = netlink_open(protocol, receive_buffer_bytes, syscall);
  if (request->fd < 0) return errno;
  *syscall = "setsockopt";
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    if (setsockopt(request->fd, SOL_NETLINK, options[i], &on, sizeof on) != 0) return errno;
  if (setsockopt(request->fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer_bytes, sizeof send_buffer_bytes) != 0 &&
      setsockopt(request->fd, SOL_SOCKET, SO_SNDBUF, &send_buffer_bytes, sizeof send_buffer_bytes) != 0)
    return errno;
  *syscall = "getsockname";
  return netlink_port_id(request->fd, port_id);
}

static napi_value make_object(napi_env env, uint32_t port_id) {
  napi_value object, port;
  CHECKED(napi_create_object(env, &object));
  CHECKED(napi_create_uint32(env, port_id, &port));
  const napi_property_descriptor properties[] = {
      {.utf8name = "portId", .value = port, .attributes = napi_enumerable},
      {.utf8name = "send", .method = request_send},
      {.utf8name = "receive", .method = request_receive},
      {.utf8name = "interfaceIndex", .method = request_interface_index},
      {.utf8name = "close", .method = request_close},
  };
  CHECKED(napi_define_properties(env, object, sizeof properties / sizeof *properties, properties));
  return object;
}

napi_value open_request_socket(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value options;
  int64_t protocol, receive_buffer_bytes, timeout_milliseconds;
  CHECKED(napi_get_cb_info(env, info, &argc, &options, NULL, NULL));
  if (!expect_type(env, options, napi_object, "options must be an object") ||
      !read_integer_property(env, options, "protocol", 0, INT_MAX, &protocol) ||
      !read_integer_property(env, options, "receiveBufferBytes", 1, INT_MAX / 2, &receive_buffer_bytes) ||
      !read_integer_property(env, options, "timeoutMilliseconds", 0, INT_MAX, &timeout_milliseconds))
    return NULL;

  struct request_socket *request = calloc(1, sizeof *request);
  if (request == NULL) return throw_errno(env, ENOMEM, "malloc");
  request->fd = -1;
  request->timeout_milliseconds = (int)timeout_milliseconds;
  uint32_t port_id = 0;
  const char *syscall;
  int error = open_socket(request, (int)protocol, (int)receive_buffer_bytes, &port_id, &syscall);
  if (error != 0) {
    finalize(env, request, NULL);
    return throw_errno(env, error, syscall);
  }
  napi_value object = make_object(env, port_id);
  if (object == NULL || !attach(env, object, request, finalize, &REQUEST_SOCKET)) {
    finalize(env, request, NULL);
    return NULL;
  }
  return object;
}
