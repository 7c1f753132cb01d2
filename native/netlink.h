/* Netlink sockets: what requests and monitors have in common. */
#ifndef VTEPD_NETLINK_H
#define VTEPD_NETLINK_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A bound socket that does not survive exec, with a receive buffer of that size (or what SO_RCVBUF grants without
 * CAP_NET_ADMIN). Returns -1 with errno and the name of the call that failed.
 */
int netlink_open(int protocol, int receive_buffer_bytes, const char **syscall);

/* The same, with that filter (NULL: none) in those multicast groups: nothing unfiltered is ever queued. */
int netlink_listen(int protocol, int receive_buffer_bytes, struct sock_filter *filter, uint32_t instruction_count,
                   const int *groups, uint32_t group_count, const char **syscall);

/* The nl_pid that the kernel gave the socket: 0, or an error number of getsockname(2). */
int netlink_port_id(int fd, uint32_t *port_id);

/* Sends one datagram to the kernel: sendto(2), again where a signal interrupted it. False, and errno. */
bool netlink_send(int fd, const void *messages, size_t length);

/* 1 if that is the interface's own name (it may have alternative ones, too), else 0; -1 and errno when the kernel does not say. */
int netlink_has_name(int fd, int index, const char *name);

/*
 * Takes one datagram, without waiting: the length of its messages, padded with zeros to 4 bytes; 0 if it did not come from
 * the kernel and was dropped; -1 and errno: EAGAIN when there is none, ENOBUFS when the kernel had to drop some, EMSGSIZE
 * when this one is longer than `capacity` and lost.
 */
ssize_t netlink_receive(int fd, unsigned char *buffer, size_t capacity);

#endif
