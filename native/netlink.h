/* Netlink sockets: what requests and monitors have in common. */
#ifndef VTEPD_NETLINK_H
#define VTEPD_NETLINK_H

#include <stddef.h>
#include <sys/types.h>

/*
 * A bound socket that does not survive exec, with a receive buffer of that size (or what SO_RCVBUF grants without
 * CAP_NET_ADMIN). Returns -1 with errno and the name of the call that failed.
 */
int netlink_open(int protocol, int receive_buffer_bytes, const char **syscall);

/*
 * Takes one datagram, without waiting: the length of its messages, padded with zeros to 4 bytes; 0 if it did not come from
 * the kernel and was dropped; -1 and errno: EAGAIN when there is none, ENOBUFS when the kernel had to drop some, EMSGSIZE
 * when this one is longer than `capacity` and lost.
 */
ssize_t netlink_receive(int fd, unsigned char *buffer, size_t capacity);

#endif
