/* openMonitor: multicast messages of the kernel, from Node's event loop. */
#include "exports.h"
#include "netlink.h"
#include "values.h"

#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

/* One call of the callback gets what it takes to have so much: some six hundred misses, a millisecond or two of work. A flood does
 * not hold the event loop for longer at a time … */
#define SLICE_BYTES (64 << 10)
/* … also when it is made of datagrams that are dropped. */
#define SLICE_DATAGRAMS 8192
/* Room for the last datagram; the kernel's notifications have at most 32 KiB but for a link with very many VFs. */
#define DATAGRAM_BYTES (256 << 10)
#define MAX_GROUPS 1024
/* BPF_MAXINSNS of linux/bpf_common.h */
#define MAX_INSTRUCTIONS 4096

struct monitor {
  uv_poll_t poll; /* first: a uv_poll_t * is a struct monitor * */
  napi_env env;
  napi_ref callback;
  napi_async_cleanup_hook_handle cleanup_hook;
  /* The event loop and the JavaScript object each keep it alive; whoever lets go last frees it. */
  int owners;
  int fd; /* -1 once closed */
  unsigned char *buffer;
};

struct monitor_options {
  int64_t protocol, receive_buffer_bytes;
  int *groups;
  uint32_t group_count;
  struct sock_filter *filter; /* NULL: none */
  uint32_t instruction_count;
};

static const napi_type_tag MONITOR = {0x2f9d7c1864e04ab5, 0xa6c3d05e8b7149f7};

static void release(struct monitor *monitor) {
  if (--monitor->owners > 0) return;
  free(monitor->buffer);
  free(monitor);
}

static void finalize(napi_env env, void *data, void *hint) { release(data); }

static void on_closed(uv_handle_t *handle) {
  struct monitor *monitor = (struct monitor *)handle;
  /* May end the environment, and with it the JavaScript object: nothing of `monitor` but our share of it is valid then. */
  if (monitor->cleanup_hook != NULL) napi_remove_async_cleanup_hook(monitor->cleanup_hook);
  release(monitor);
}

/* Stops at once; the memory stays until the event loop has let go of it. */
static void stop(struct monitor *monitor) {
  if (monitor->fd < 0) return;
  uv_close((uv_handle_t *)&monitor->poll, on_closed);
  close(monitor->fd);
  monitor->fd = -1;
  napi_delete_reference(monitor->env, monitor->callback);
}

/* The environment goes: the process ends or the worker thread is terminated. It waits until on_closed removed the hook. */
static void on_teardown(napi_async_cleanup_hook_handle hook, void *data) { stop(data); }

static void call_back(struct monitor *monitor, napi_value messages, bool overrun) {
  napi_env env = monitor->env;
  napi_value callback, global, argv[2] = {messages}, thrown;
  if (napi_get_reference_value(env, monitor->callback, &callback) != napi_ok ||
      napi_get_global(env, &global) != napi_ok || napi_get_boolean(env, overrun, &argv[1]) != napi_ok)
    return;
  /* Anything else than an exception means that this thread's JavaScript has ended. */
  if (napi_make_callback(env, NULL, global, callback, 2, argv, NULL) != napi_pending_exception) return;
  if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok) napi_fatal_exception(env, thrown);
}

/* Hands over what was read, and that some were lost: in this order, for what was read is older. */
static void deliver(struct monitor *monitor, size_t length, bool overrun) {
  napi_env env = monitor->env;
  napi_handle_scope scope;
  napi_value value;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  if (length > 0) {
    if (napi_create_buffer_copy(env, length, monitor->buffer, NULL, &value) == napi_ok)
      call_back(monitor, value, false);
    else
      overrun = true;
  }
  if (overrun && monitor->fd >= 0 && napi_get_null(env, &value) == napi_ok) call_back(monitor, value, true);
  napi_close_handle_scope(env, scope);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  struct monitor *monitor = (struct monitor *)poll;
  size_t length = 0;
  bool overrun = false;
  for (int i = 0; i < SLICE_DATAGRAMS && length < SLICE_BYTES; i++) {
    ssize_t received = netlink_receive(monitor->fd, monitor->buffer + length, DATAGRAM_BYTES);
    if (received >= 0) {
      length += (size_t)received;
    } else if (errno == EAGAIN) {
      break;
    } else {
      /* ENOBUFS, and whatever else it is: reading the error cleared it, and something may be lost. */
      overrun = true;
    }
  }
  /* libuv takes the poll error of an overrun for a broken descriptor and stops polling. */
  if (status < 0) uv_poll_start(poll, UV_READABLE, on_readable);
  deliver(monitor, length, overrun);
}

static napi_value monitor_ref(napi_env env, napi_callback_info info) {
  struct monitor *monitor = read_this(env, info, &MONITOR, 0, NULL);
  if (monitor != NULL && monitor->fd >= 0) uv_ref((uv_handle_t *)&monitor->poll);
  return NULL;
}

static napi_value monitor_unref(napi_env env, napi_callback_info info) {
  struct monitor *monitor = read_this(env, info, &MONITOR, 0, NULL);
  if (monitor != NULL && monitor->fd >= 0) uv_unref((uv_handle_t *)&monitor->poll);
  return NULL;
}

static napi_value monitor_close(napi_env env, napi_callback_info info) {
  struct monitor *monitor = read_this(env, info, &MONITOR, 0, NULL);
  if (monitor != NULL) stop(monitor);
  return NULL;
}

/* The length of an array of at most `max` elements. */
static bool read_length(napi_env env, napi_value array, const char *what, uint32_t max, uint32_t *length) {
  bool is_array = false;
  if (!succeeded(env, napi_is_array(env, array, &is_array))) return false;
  if (is_array && !succeeded(env, napi_get_array_length(env, array, length))) return false;
  if (is_array && *length <= max) return true;
  throw_type(env, what);
  return false;
}

static bool read_element(napi_env env, napi_value array, uint32_t index, const char *what, int64_t max,
                         int64_t *result) {
  napi_value element;
  return succeeded(env, napi_get_element(env, array, index, &element)) &&
         read_integer(env, element, what, 0, max, result);
}

static bool read_groups(napi_env env, napi_value array, struct monitor_options *options) {
  if (!read_length(env, array, "groups must be an array of at most 1024 numbers", MAX_GROUPS, &options->group_count))
    return false;
  options->groups = calloc(options->group_count + 1, sizeof *options->groups);
  if (options->groups == NULL) {
    throw_errno(env, ENOMEM, "malloc");
    return false;
  }
  for (uint32_t i = 0; i < options->group_count; i++) {
    int64_t group;
    if (!read_element(env, array, i, "a group", INT_MAX, &group)) return false;
    options->groups[i] = (int)group;
  }
  return true;
}

static bool read_instruction(napi_env env, napi_value array, struct sock_filter *instruction) {
  uint32_t length = 0;
  int64_t code, jt, jf, k;
  if (!read_length(env, array, "an instruction of the filter must be [code, jt, jf, k]", 4, &length) ||
      !read_element(env, array, 0, "an instruction's code", UINT16_MAX, &code) ||
      !read_element(env, array, 1, "an instruction's jt", UINT8_MAX, &jt) ||
      !read_element(env, array, 2, "an instruction's jf", UINT8_MAX, &jf) ||
      !read_element(env, array, 3, "an instruction's k", UINT32_MAX, &k))
    return false;
  *instruction = (struct sock_filter){(uint16_t)code, (uint8_t)jt, (uint8_t)jf, (uint32_t)k};
  return true;
}

static bool read_filter(napi_env env, napi_value array, struct monitor_options *options) {
  napi_valuetype type;
  if (!succeeded(env, napi_typeof(env, array, &type))) return false;
  if (type == napi_undefined) return true;
  if (!read_length(env, array, "filter must be an array of at most 4096 instructions", MAX_INSTRUCTIONS,
                   &options->instruction_count))
    return false;
  options->filter = calloc(options->instruction_count + 1, sizeof *options->filter);
  if (options->filter == NULL) {
    throw_errno(env, ENOMEM, "malloc");
    return false;
  }
  for (uint32_t i = 0; i < options->instruction_count; i++) {
    napi_value element;
    if (!succeeded(env, napi_get_element(env, array, i, &element)) ||
        !read_instruction(env, element, &options->filter[i]))
      return false;
  }
  return true;
}

/* What it allocated is the caller's to free, also when it failed. */
static bool read_options(napi_env env, napi_value object, struct monitor_options *options) {
  napi_value value;
  return expect_type(env, object, napi_object, "options must be an object") &&
         read_integer_property(env, object, "protocol", 0, INT_MAX, &options->protocol) &&
         read_integer_property(env, object, "receiveBufferBytes", 1, INT_MAX / 2, &options->receive_buffer_bytes) &&
         succeeded(env, napi_get_named_property(env, object, "groups", &value)) && read_groups(env, value, options) &&
         succeeded(env, napi_get_named_property(env, object, "filter", &value)) && read_filter(env, value, options);
}

static napi_value make_object(napi_env env) {
  napi_value object;
  const napi_property_descriptor properties[] = {
      {.utf8name = "ref", .method = monitor_ref},
      {.utf8name = "unref", .method = monitor_unref},
      {.utf8name = "close", .method = monitor_close},
  };
  CHECKED(napi_create_object(env, &object));
  CHECKED(napi_define_properties(env, object, sizeof properties / sizeof *properties, properties));
  return object;
}

/* Gives `fd` to a new monitor on the event loop. What fails after the loop knows it must be undone by stop(). */
static napi_value start(napi_env env, int fd, napi_value callback) {
  uv_loop_t *loop;
  struct monitor *monitor = calloc(1, sizeof *monitor);
  if (monitor == NULL || (monitor->buffer = malloc(SLICE_BYTES + DATAGRAM_BYTES)) == NULL) {
    throw_errno(env, ENOMEM, "malloc");
    goto failed;
  }
  monitor->env = env;
  monitor->fd = fd;
  napi_value object = make_object(env);
  if (object == NULL || !succeeded(env, napi_get_uv_event_loop(env, &loop)) ||
      !succeeded(env, napi_create_reference(env, callback, 1, &monitor->callback)))
    goto failed;
  int error = uv_poll_init(loop, &monitor->poll, fd);
  if (error != 0) {
    napi_delete_reference(env, monitor->callback);
    throw_errno(env, -error, "uv_poll_init");
    goto failed;
  }
  monitor->owners = 1;
  error = uv_poll_start(&monitor->poll, UV_READABLE, on_readable);
  if (error != 0) {
    throw_errno(env, -error, "uv_poll_start");
    stop(monitor);
    return NULL;
  }
  monitor->owners = 2;
  if (!attach(env, object, monitor, finalize, &MONITOR)) {
    monitor->owners = 1;
    stop(monitor);
    return NULL;
  }
  if (!succeeded(env, napi_add_async_cleanup_hook(env, on_teardown, monitor, &monitor->cleanup_hook))) {
    stop(monitor);
    return NULL;
  }
  return object;

failed:
  close(fd);
  if (monitor != NULL) free(monitor->buffer);
  free(monitor);
  return NULL;
}

napi_value open_monitor(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2], object = NULL;
  struct monitor_options options = {0};
  CHECKED(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  if (read_options(env, argv[0], &options) &&
      expect_type(env, argv[1], napi_function, "callback must be a function")) {
    const char *syscall;
    int fd = netlink_listen((int)options.protocol, (int)options.receive_buffer_bytes, options.filter,
                            options.instruction_count, options.groups, options.group_count, &syscall);
    if (fd < 0)
      throw_errno(env, errno, syscall);
    else
      object = start(env, fd, argv[1]);
  }
  free(options.groups);
  free(options.filter);
  return object;
}
