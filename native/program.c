/* runProgram: a program from beginning to end, on a thread of Node's pool. */
#include "exports.h"
#include "values.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS 1024
#define READ_BYTES (64 << 10)

struct output {
  char *bytes;
  size_t length, capacity;
};

struct program {
  napi_async_work work;
  napi_ref callback;
  /* The work and the JavaScript function that cancels it each keep it alive; whoever lets go last frees it. */
  int owners;
  char **args, **env; /* ended by NULL */
  char *input;
  size_t input_length;
  int64_t timeout_milliseconds, most_output_bytes;
  int cancel_fd; /* -1 once it has ended */
  /* How it ended. */
  int error; /* errno of `syscall`; 0: it ran */
  const char *syscall;
  int status; /* of waitpid */
  bool killed;
  struct output outputs[2];
};

static void free_words(char **words) {
  if (words == NULL) return;
  for (char **word = words; *word != NULL; word++) free(*word);
  free(words);
}

static void shut(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void release(struct program *program) {
  if (--program->owners > 0) return;
  shut(&program->cancel_fd);
  free_words(program->args);
  free_words(program->env);
  free(program->input);
  free(program->outputs[0].bytes);
  free(program->outputs[1].bytes);
  free(program);
}

static int64_t monotonic_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The value of PATH in the program's environment, not in ours. */
static const char *search_path(char *const *env) {
  for (; *env != NULL; env++)
    if (strncmp(*env, "PATH=", 5) == 0) return *env + 5;
  return "/usr/sbin:/usr/bin:/sbin:/bin";
}

/* Starts args[0], looked for as a shell does. Returns 0 or an errno. */
static int spawn(pid_t *pid, const struct program *program, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes) {
  const char *name = program->args[0];
  if (strchr(name, '/') != NULL)
    return posix_spawn(pid, name, actions, attributes, program->args, program->env);
  int result = ENOENT;
  for (const char *at = search_path(program->env); *at != 0;) {
    int length = (int)strcspn(at, ":");
    char *file = NULL;
    if (length > 0 && asprintf(&file, "%.*s/%s", length, at, name) < 0) return ENOMEM;
    at += length;
    at += *at == ':';
    if (file == NULL) continue;
    int error = posix_spawn(pid, file, actions, attributes, program->args, program->env);
    free(file);
    if (error == 0) return 0;
    /* There may be another further on, but a file that may not be run is worth telling. */
    if (error == EACCES) result = error;
    else if (error != ENOENT && error != ENOTDIR) return error;
  }
  return result;
}

/* Starts the program with its three streams at `theirs`. Returns 0 or an errno. */
static int start(pid_t *pid, const struct program *program, const int theirs[3]) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t signals;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return error;
  for (int fd = 0; fd < 3 && error == 0; fd++) error = posix_spawn_file_actions_adddup2(&actions, theirs[fd], fd);
  if (error == 0) error = posix_spawnattr_init(&attributes);
  if (error == 0) {
    /* As it would find them without us: Node ignores SIGPIPE, and its threads block signals. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    error = spawn(pid, program, &actions, &attributes);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/* Takes what is there. Returns false at the end, or when nothing more fits. */
static bool take(struct output *output, int fd, size_t most) {
  if (output->capacity - output->length < READ_BYTES) {
    size_t capacity = output->capacity * 2 + READ_BYTES;
    char *bytes = realloc(output->bytes, capacity);
    if (bytes == NULL) return false;
    output->bytes = bytes;
    output->capacity = capacity;
  }
  ssize_t length = read(fd, output->bytes + output->length, READ_BYTES);
  if (length < 0) return errno == EINTR || errno == EAGAIN;
  output->length += (size_t)length;
  return length > 0 && output->length <= most;
}

/* Feeds the program and listens to it until it has ended, or must be killed: then returns false. Closes `ours` on the way. */
static bool converse(struct program *program, int ours[3], int pid_fd) {
  int64_t deadline = monotonic_milliseconds() + program->timeout_milliseconds;
  size_t written = 0;
  bool has_ended = pid_fd < 0; /* a kernel older than 5.3 cannot tell: its streams do */
  for (;;) {
    if (written == program->input_length) shut(&ours[0]);
    if (ours[1] < 0 && ours[2] < 0 && has_ended) return true;
    struct pollfd polled[] = {
        {.fd = ours[0], .events = POLLOUT},
        {.fd = ours[1], .events = POLLIN},
        {.fd = ours[2], .events = POLLIN},
        {.fd = has_ended ? -1 : pid_fd, .events = POLLIN},
        {.fd = program->cancel_fd, .events = POLLIN},
    };
    int64_t left = deadline - monotonic_milliseconds();
    int ready = left > 0 ? poll(polled, sizeof polled / sizeof *polled, (int)left) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0 || polled[4].revents != 0) return false;
    if (polled[0].revents != 0) {
      ssize_t length = write(ours[0], program->input + written, program->input_length - written);
      if (length > 0) written += (size_t)length;
      /* A program that ends without reading its input says why itself. */
      else if (errno != EINTR && errno != EAGAIN) written = program->input_length;
    }
    for (int stream = 1; stream <= 2; stream++) {
      if (polled[stream].revents == 0) continue;
      struct output *output = &program->outputs[stream - 1];
      if (take(output, ours[stream], (size_t)program->most_output_bytes)) continue;
      if (output->length > (size_t)program->most_output_bytes) return false;
      shut(&ours[stream]);
    }
    if (polled[3].revents != 0) has_ended = true;
  }
}

static void run(napi_env env, void *data) {
  struct program *program = data;
  int theirs[3] = {-1, -1, -1}, ours[3] = {-1, -1, -1};
  pid_t pid;
  for (int stream = 0; stream < 3 && program->error == 0; stream++) {
    int ends[2];
    program->syscall = "pipe2";
    if (pipe2(ends, O_CLOEXEC) != 0) {
      program->error = errno;
      break;
    }
    theirs[stream] = ends[stream == 0 ? 0 : 1];
    ours[stream] = ends[stream == 0 ? 1 : 0];
    if (fcntl(ours[stream], F_SETFL, O_NONBLOCK) != 0) program->error = errno;
  }
  if (program->error == 0) {
    program->syscall = "posix_spawn";
    program->error = start(&pid, program, theirs);
  }
  for (int stream = 0; stream < 3; stream++) shut(&theirs[stream]);
  if (program->error == 0) {
    int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    program->killed = !converse(program, ours, pid_fd);
    if (program->killed) kill(pid, SIGKILL);
    while (waitpid(pid, &program->status, 0) < 0 && errno == EINTR) continue;
    shut(&pid_fd);
  }
  for (int stream = 0; stream < 3; stream++) shut(&ours[stream]);
}

static napi_value end_of(napi_env env, const struct program *program) {
  static const char *const names[] = {"stdout", "stderr"};
  napi_value end, value;
  CHECKED(napi_create_object(env, &end));
  if (program->error != 0) {
    const char *code = strerrorname_np(program->error);
    CHECKED(napi_create_string_utf8(env, code ? code : "UNKNOWN", NAPI_AUTO_LENGTH, &value));
    CHECKED(napi_set_named_property(env, end, "error", value));
    CHECKED(napi_create_string_utf8(env, program->syscall, NAPI_AUTO_LENGTH, &value));
    CHECKED(napi_set_named_property(env, end, "syscall", value));
  }
  int status = WIFSIGNALED(program->status) ? 128 + WTERMSIG(program->status) : WEXITSTATUS(program->status);
  CHECKED(napi_create_int32(env, status, &value));
  CHECKED(napi_set_named_property(env, end, "status", value));
  CHECKED(napi_get_boolean(env, program->killed, &value));
  CHECKED(napi_set_named_property(env, end, "killed", value));
  for (int each = 0; each < 2; each++) {
    const struct output *output = &program->outputs[each];
    CHECKED(napi_create_buffer_copy(env, output->length, output->bytes, NULL, &value));
    CHECKED(napi_set_named_property(env, end, names[each], value));
  }
  return end;
}

static void complete(napi_env env, napi_status status, void *data) {
  struct program *program = data;
  napi_value callback, global, end = end_of(env, program);
  napi_delete_async_work(env, program->work);
  shut(&program->cancel_fd);
  bool is_callable = end != NULL && napi_get_reference_value(env, program->callback, &callback) == napi_ok &&
                     napi_get_global(env, &global) == napi_ok;
  napi_delete_reference(env, program->callback);
  release(program);
  /* What it throws is Node's to report, as an uncaughtException. */
  if (is_callable) napi_call_function(env, global, callback, 1, &end, NULL);
}

static napi_value cancel(napi_env env, napi_callback_info info) {
  void *data;
  CHECKED(napi_get_cb_info(env, info, NULL, NULL, NULL, &data));
  const struct program *program = data;
  const uint64_t one = 1;
  if (program->cancel_fd < 0) return NULL;
  if (write(program->cancel_fd, &one, sizeof one) < 0 && errno != EAGAIN) return throw_errno(env, errno, "write");
  return NULL;
}

static void finalize(napi_env env, void *data, void *hint) { release(data); }

static char **read_words(napi_env env, napi_value options, const char *name) {
  napi_value array, value;
  bool is_array;
  uint32_t count;
  CHECKED(napi_get_named_property(env, options, name, &array));
  CHECKED(napi_is_array(env, array, &is_array));
  if (!is_array) return (char **)throw_type(env, "args and env must be arrays of strings");
  CHECKED(napi_get_array_length(env, array, &count));
  if (count > MAX_WORDS) return (char **)throw_range(env, "args and env have at most 1024 words");
  char **words = calloc(count + 1, sizeof *words);
  if (words == NULL) return (char **)throw_errno(env, ENOMEM, "calloc");
  for (uint32_t each = 0; each < count; each++) {
    size_t length;
    words[each] = succeeded(env, napi_get_element(env, array, each, &value)) ? read_string(env, value, name, &length)
                                                                            : NULL;
    if (words[each] != NULL && strlen(words[each]) == length) continue;
    if (words[each] != NULL) throw_range(env, "a word of args or env must not have a NUL in it");
    free_words(words);
    return NULL;
  }
  return words;
}

static bool read_options(napi_env env, napi_value options, struct program *program) {
  napi_value value;
  if (!expect_type(env, options, napi_object, "options must be an object")) return false;
  program->args = read_words(env, options, "args");
  if (program->args == NULL) return false;
  if (program->args[0] == NULL) return throw_range(env, "args must begin with a program") != NULL;
  program->env = read_words(env, options, "env");
  if (program->env == NULL) return false;
  if (!succeeded(env, napi_get_named_property(env, options, "input", &value))) return false;
  program->input = read_string(env, value, "input", &program->input_length);
  return program->input != NULL &&
         read_integer_property(env, options, "timeoutMilliseconds", 1, 3600000, &program->timeout_milliseconds) &&
         read_integer_property(env, options, "mostOutputBytes", 1, 1 << 30, &program->most_output_bytes);
}

/* Queues the work, and makes the function that cancels it; each is an owner then. */
static napi_value begin(napi_env env, napi_value callback, struct program *program) {
  napi_value name, function;
  CHECKED(napi_create_string_utf8(env, "runProgram", NAPI_AUTO_LENGTH, &name));
  CHECKED(napi_create_async_work(env, NULL, name, run, complete, program, &program->work));
  CHECKED(napi_create_reference(env, callback, 1, &program->callback));
  CHECKED(napi_create_function(env, "cancel", NAPI_AUTO_LENGTH, cancel, program, &function));
  CHECKED(napi_add_finalizer(env, function, program, finalize, NULL, NULL));
  program->owners++;
  CHECKED(napi_queue_async_work(env, program->work));
  program->owners++;
  return function;
}

napi_value run_program(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2], function = NULL;
  CHECKED(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  if (!expect_type(env, argv[1], napi_function, "callback must be a function")) return NULL;
  struct program *program = calloc(1, sizeof *program);
  if (program == NULL) return throw_errno(env, ENOMEM, "calloc");
  program->owners = 1;
  program->cancel_fd = -1;
  if (read_options(env, argv[0], program)) {
    program->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    function = program->cancel_fd < 0 ? throw_errno(env, errno, "eventfd") : begin(env, argv[1], program);
  }
  release(program);
  return function;
}
