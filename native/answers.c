/* openAnswerer: L3 misses for known subnets, answered by a thread that does nothing else. */
#include "exports.h"
#include "netlink.h"
#include "values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Some 5000 questions; those that find no room are asked again a second later, and the monitor tells of its own overrun. */
#define RECEIVE_BUFFER_BYTES (2 << 20)
/* More than a question has; one that is longer is left to the monitor. */
#define DATAGRAM_BYTES 4096
#define STACK_BYTES (128 << 10)
#define ADDRESS_BITS 32
#define INITIAL_CAPACITY 64
/* Knuth's: consecutive subnets fall far from each other. */
#define HASH_FACTOR 2654435769u

/* What is known of a subnet, as index.d.ts has it; addresses in network byte order. */
struct record {
  uint32_t subnet;
  uint8_t length, unused;
  uint8_t mac[6];
  uint32_t destination;
};
_Static_assert(sizeof(struct record) == 16, "as index.d.ts says");

/* By open addressing: from its place by hash, a record is at most as far as there is no free one before it. */
struct table {
  struct record *records;
  uint8_t *used;
  uint32_t capacity; /* a power of two, at least twice the count */
  uint32_t count;
  uint32_t lengths[ADDRESS_BITS + 1]; /* how many records have that prefix length */
};

struct answerer {
  /* Of what follows it; held while an answer is sent, so that there is none for a subnet after it was removed. */
  pthread_mutex_t lock;
  struct table table;
  bool paused;
  pthread_t thread;
  int fd, stop_fd; /* -1 once closed */
  napi_env env;
  char interface[IFNAMSIZ];
  _Alignas(NLMSG_ALIGNTO) unsigned char buffer[DATAGRAM_BYTES];
};

static const napi_type_tag ANSWERER = {0x51d8e3c07ab94f26, 0xb94c1f7de2053a68};

static uint32_t mask_of(uint32_t length) {
  return htonl(length == 0 ? 0 : UINT32_MAX << (ADDRESS_BITS - length));
}

static uint32_t place_of(const struct table *table, uint32_t subnet, uint32_t length) {
  uint32_t hash = (ntohl(subnet) + length) * HASH_FACTOR;
  return (hash ^ hash >> 16) & (table->capacity - 1);
}

/* The place of the record of this subnet, or the free one where it would be. */
static uint32_t find(const struct table *table, uint32_t subnet, uint32_t length) {
  uint32_t at = place_of(table, subnet, length);
  while (table->used[at] && (table->records[at].subnet != subnet || table->records[at].length != length))
    at = (at + 1) & (table->capacity - 1);
  return at;
}

/* The record of the longest subnet that holds the address, or NULL. */
static const struct record *look_up(const struct table *table, uint32_t address) {
  for (int length = ADDRESS_BITS; length >= 0; length--) {
    if (table->lengths[length] == 0) continue;
    uint32_t at = find(table, address & mask_of((uint32_t)length), (uint32_t)length);
    if (table->used[at]) return &table->records[at];
  }
  return NULL;
}

static void put(struct table *table, const struct record *record) {
  uint32_t at = find(table, record->subnet, record->length);
  if (!table->used[at]) {
    table->used[at] = true;
    table->count++;
    table->lengths[record->length]++;
  }
  table->records[at] = *record;
}

/* Those behind the gap that would no longer be found move into it. */
static void take_out(struct table *table, const struct record *record) {
  uint32_t gap = find(table, record->subnet, record->length), last = table->capacity - 1;
  if (!table->used[gap]) return;
  table->lengths[record->length]--;
  table->count--;
  for (uint32_t at = (gap + 1) & last; table->used[at]; at = (at + 1) & last) {
    uint32_t place = place_of(table, table->records[at].subnet, table->records[at].length);
    if (((at - place) & last) < ((at - gap) & last)) continue;
    table->records[gap] = table->records[at];
    gap = at;
  }
  table->used[gap] = false;
}

static void discard(struct table *table) {
  free(table->records);
  free(table->used);
  table->records = NULL;
  table->used = NULL;
}

static bool allocate(struct table *table, uint32_t capacity) {
  *table = (struct table){.capacity = capacity};
  table->records = calloc(capacity, sizeof *table->records);
  table->used = calloc(capacity, sizeof *table->used);
  if (table->records != NULL && table->used != NULL) return true;
  discard(table);
  return false;
}

/* Room for so many more. Only the thread that calls writes the table, so it may be read without the lock here. */
static bool make_room(struct answerer *answerer, size_t more) {
  struct table *table = &answerer->table, larger;
  size_t wanted = 2 * (table->count + more);
  uint32_t capacity = table->capacity;
  while (capacity < wanted) capacity *= 2;
  if (capacity == table->capacity) return true;
  if (!allocate(&larger, capacity)) return false;
  for (uint32_t at = 0; at < table->capacity; at++)
    if (table->used[at]) put(&larger, &table->records[at]);
  pthread_mutex_lock(&answerer->lock);
  struct table smaller = *table;
  *table = larger;
  pthread_mutex_unlock(&answerer->lock);
  discard(&smaller);
  return true;
}

/* A neighbor and an FDB entry look the same: an address, and a MAC. */
struct entry {
  struct nlmsghdr header;
  struct ndmsg neighbor;
  struct nlattr address_header;
  uint32_t address;
  struct nlattr mac_header;
  uint8_t mac[6], padding[2];
};

static struct entry entry_of(int index, uint8_t family, uint16_t state, uint8_t flags, uint32_t address,
                             const uint8_t *mac) {
  struct entry entry = {
      .header = {.nlmsg_len = sizeof entry, .nlmsg_type = RTM_NEWNEIGH, .nlmsg_flags = NLM_F_REQUEST | NLM_F_REPLACE},
      .neighbor = {.ndm_family = family, .ndm_ifindex = index, .ndm_state = state, .ndm_flags = flags},
      .address_header = {NLA_HDRLEN + sizeof entry.address, NDA_DST},
      .address = address,
      .mac_header = {NLA_HDRLEN + sizeof entry.mac, NDA_LLADDR},
  };
  memcpy(entry.mac, mac, sizeof entry.mac);
  return entry;
}

/* The FDB entry first, for the neighbor lets the packets go. It must be there still: who answers later leaves none behind. */
static void answer(const struct answerer *answerer, int index, uint32_t address, const struct record *record) {
  struct {
    struct entry fdb, neighbor;
  } batch = {
      .fdb = entry_of(index, AF_BRIDGE, NUD_PERMANENT, NTF_SELF, record->destination, record->mac),
      .neighbor = entry_of(index, AF_INET, NUD_REACHABLE, NTF_EXT_LEARNED, address, record->mac),
  };
  batch.fdb.header.nlmsg_flags |= NLM_F_CREATE;
  /* What the kernel refuses, it refuses the event loop as well, which says so. */
  netlink_send(answerer->fd, &batch, sizeof batch);
}

/* The address that an RTM_GETNEIGH asks for; false for what is no L3 miss of IPv4. */
static bool read_question(const struct nlmsghdr *header, int *index, uint32_t *address) {
  const struct ndmsg *neighbor = NLMSG_DATA(header);
  if (header->nlmsg_type != RTM_GETNEIGH || header->nlmsg_len < NLMSG_LENGTH(sizeof *neighbor)) return false;
  if (neighbor->ndm_family != AF_INET || !(neighbor->ndm_state & NUD_INCOMPLETE)) return false;
  bool has_address = false;
  int left = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof *neighbor));
  const struct rtattr *attribute = (const struct rtattr *)((const char *)neighbor + NLMSG_ALIGN(sizeof *neighbor));
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type == NDA_LLADDR) return false;
    if (attribute->rta_type != NDA_DST || RTA_PAYLOAD(attribute) != sizeof *address) continue;
    memcpy(address, RTA_DATA(attribute), sizeof *address);
    has_address = true;
  }
  *index = neighbor->ndm_ifindex;
  return has_address;
}

static void hear(struct answerer *answerer, size_t length) {
  const struct nlmsghdr *header = (const struct nlmsghdr *)answerer->buffer;
  for (int left = (int)length; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
    int index;
    uint32_t address = 0;
    if (!read_question(header, &index, &address)) continue;
    pthread_mutex_lock(&answerer->lock);
    const struct record *record = look_up(&answerer->table, address);
    /* The name at the time of the question: the interface may have been made anew. */
    if (record != NULL && !answerer->paused && netlink_has_name(answerer->fd, index, answerer->interface) == 1)
      answer(answerer, index, address, record);
    pthread_mutex_unlock(&answerer->lock);
  }
}

static void *run(void *data) {
  struct answerer *answerer = data;
  struct pollfd fds[] = {{.fd = answerer->stop_fd, .events = POLLIN}, {.fd = answerer->fd, .events = POLLIN}};
  for (;;) {
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[0].revents != 0) return NULL;
    ssize_t received = netlink_receive(answerer->fd, answerer->buffer, sizeof answerer->buffer);
    /* An error, ENOBUFS most of all, is over once it was read. */
    if (received > 0) hear(answerer, (size_t)received);
  }
}

static void on_teardown(void *data);

/* Returns when the thread has ended. */
static void stop(struct answerer *answerer) {
  if (answerer->fd < 0) return;
  napi_remove_env_cleanup_hook(answerer->env, on_teardown, answerer);
  eventfd_write(answerer->stop_fd, 1);
  pthread_join(answerer->thread, NULL);
  close(answerer->fd);
  close(answerer->stop_fd);
  answerer->fd = -1;
  discard(&answerer->table);
}

static void on_teardown(void *data) { stop(data); }

static void finalize(napi_env env, void *data, void *hint) {
  struct answerer *answerer = data;
  stop(answerer);
  pthread_mutex_destroy(&answerer->lock);
  free(answerer);
}

/* The array may begin anywhere. */
static struct record record_at(const unsigned char *records, size_t at) {
  struct record record;
  memcpy(&record, records + at * sizeof record, sizeof record);
  return record;
}

/* The records of a call; false after it threw. */
static bool read_records(napi_env env, napi_value value, const unsigned char **records, size_t *count) {
  size_t length = 0;
  void *data = NULL;
  if (!read_bytes(env, value, "records", &data, &length)) return false;
  *records = data;
  *count = length / sizeof(struct record);
  const char *problem = length % sizeof(struct record) != 0 ? "records must have 16 bytes each" : NULL;
  for (size_t at = 0; at < *count && problem == NULL; at++) {
    struct record record = record_at(data, at);
    if (record.length > ADDRESS_BITS) problem = "a prefix length must be an integer from 0 to 32";
    else if (record.subnet & ~mask_of(record.length)) problem = "a subnet must have no host bits";
  }
  if (problem != NULL) throw_range(env, problem);
  return problem == NULL;
}

static napi_value change(napi_env env, napi_callback_info info, bool is_put) {
  napi_value argument;
  const unsigned char *records;
  size_t count;
  struct answerer *answerer = read_this(env, info, &ANSWERER, 1, &argument);
  if (answerer == NULL || !read_records(env, argument, &records, &count)) return NULL;
  if (answerer->fd < 0) return throw_errno(env, EBADF, is_put ? "put" : "remove");
  if (is_put && !make_room(answerer, count)) return throw_errno(env, ENOMEM, "calloc");
  for (size_t at = 0; at < count; at++) {
    struct record record = record_at(records, at);
    pthread_mutex_lock(&answerer->lock);
    if (is_put) put(&answerer->table, &record);
    else take_out(&answerer->table, &record);
    pthread_mutex_unlock(&answerer->lock);
  }
  return NULL;
}

static napi_value answerer_put(napi_env env, napi_callback_info info) { return change(env, info, true); }

static napi_value answerer_remove(napi_env env, napi_callback_info info) { return change(env, info, false); }

static napi_value set_paused(napi_env env, napi_callback_info info, bool paused) {
  struct answerer *answerer = read_this(env, info, &ANSWERER, 0, NULL);
  if (answerer == NULL) return NULL;
  pthread_mutex_lock(&answerer->lock);
  answerer->paused = paused;
  pthread_mutex_unlock(&answerer->lock);
  return NULL;
}

static napi_value answerer_pause(napi_env env, napi_callback_info info) { return set_paused(env, info, true); }

static napi_value answerer_resume(napi_env env, napi_callback_info info) { return set_paused(env, info, false); }

static napi_value answerer_close(napi_env env, napi_callback_info info) {
  struct answerer *answerer = read_this(env, info, &ANSWERER, 0, NULL);
  if (answerer != NULL) stop(answerer);
  return NULL;
}

/* A socket that hears questions about neighbors, and nothing else, or -1 with errno and the call that failed. */
static int open_socket(const char **syscall) {
  struct sock_filter instructions[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_GETNEIGH), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const int group = RTNLGRP_NEIGH;
  return netlink_listen(NETLINK_ROUTE, RECEIVE_BUFFER_BYTES, instructions, sizeof instructions / sizeof *instructions,
                        &group, 1, syscall);
}

/* 0 or an error number. Signals are for the threads of Node. */
static int start_thread(struct answerer *answerer) {
  pthread_attr_t attributes;
  sigset_t all, before;
  int error = pthread_attr_init(&attributes);
  if (error != 0) return error;
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&answerer->thread, &attributes, run, answerer);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (error == 0) pthread_setname_np(answerer->thread, "answerer");
  return error;
}

static napi_value make_object(napi_env env, int fd) {
  napi_value object, port_id;
  uint32_t number = 0;
  int error = netlink_port_id(fd, &number);
  if (error != 0) return throw_errno(env, error, "getsockname");
  CHECKED(napi_create_uint32(env, number, &port_id));
  const napi_property_descriptor properties[] = {
      {.utf8name = "portId", .value = port_id, .attributes = napi_enumerable},
      {.utf8name = "put", .method = answerer_put},
      {.utf8name = "remove", .method = answerer_remove},
      {.utf8name = "pause", .method = answerer_pause},
      {.utf8name = "resume", .method = answerer_resume},
      {.utf8name = "close", .method = answerer_close},
  };
  CHECKED(napi_create_object(env, &object));
  CHECKED(napi_define_properties(env, object, sizeof properties / sizeof *properties, properties));
  return object;
}

napi_value open_answerer(napi_env env, napi_callback_info info) {
  size_t argc = 1, length;
  napi_value argument, object;
  const char *syscall;
  CHECKED(napi_get_cb_info(env, info, &argc, &argument, NULL, NULL));
  char *interface = read_path(env, argument, "interface", &length);
  if (interface == NULL) return NULL;
  struct answerer *answerer = length < IFNAMSIZ ? calloc(1, sizeof *answerer) : NULL;
  if (answerer != NULL) memcpy(answerer->interface, interface, length);
  free(interface);
  if (length >= IFNAMSIZ) return throw_range(env, "interface must have at most 15 bytes");
  if (answerer == NULL || !allocate(&answerer->table, INITIAL_CAPACITY)) {
    free(answerer);
    return throw_errno(env, ENOMEM, "calloc");
  }
  answerer->env = env;
  pthread_mutex_init(&answerer->lock, NULL);
  answerer->stop_fd = -1;
  answerer->fd = open_socket(&syscall);
  if (answerer->fd < 0) {
    throw_errno(env, errno, syscall);
    goto failed;
  }
  answerer->stop_fd = eventfd(0, EFD_CLOEXEC);
  if (answerer->stop_fd < 0) {
    throw_errno(env, errno, "eventfd");
    goto failed;
  }
  object = make_object(env, answerer->fd);
  if (object == NULL) goto failed;
  int error = start_thread(answerer);
  if (error != 0) {
    throw_errno(env, error, "pthread_create");
    goto failed;
  }
  if (succeeded(env, napi_add_env_cleanup_hook(env, on_teardown, answerer)) &&
      attach(env, object, answerer, finalize, &ANSWERER))
    return object;
  finalize(env, answerer, NULL);
  return NULL;

failed:
  if (answerer->fd >= 0) close(answerer->fd);
  if (answerer->stop_fd >= 0) close(answerer->stop_fd);
  answerer->fd = -1;
  discard(&answerer->table);
  pthread_mutex_destroy(&answerer->lock);
  free(answerer);
  return NULL;
}
