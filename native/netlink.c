#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int netlink_open(int protocol, int receive_buffer_bytes, const char **syscall) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  *syscall = "socket";
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) return -1;
  *syscall = "setsockopt";
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer_bytes, sizeof receive_buffer_bytes) != 0 &&
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes) != 0)
    goto failed;
  *syscall = "bind";
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) goto failed;
  return fd;

failed:;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int netlink_listen(int protocol, int receive_buffer_bytes, struct sock_filter *filter, uint32_t instruction_count,
                   const int *groups, uint32_t group_count, const char **syscall) {
  int fd = netlink_open(protocol, receive_buffer_bytes, syscall);
  if (fd < 0) return -1;
  *syscall = "setsockopt";
  if (filter != NULL) {
    struct sock_fprog program = {(unsigned short)instruction_count, filter};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) goto failed;
  }
  for (uint32_t i = 0; i < group_count; i++)
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) != 0) goto failed;
  return fd;

failed:;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int netlink_port_id(int fd, uint32_t *port_id) {
  struct sockaddr_nl own = {0};
  socklen_t own_length = sizeof own;
  if (getsockname(fd, (struct sockaddr *)&own, &own_length) != 0) return errno;
  *port_id = own.nl_pid;
  return 0;
}

bool netlink_send(int fd, const void *messages, size_t length) {
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  ssize_t sent;
  do
    sent = sendto(fd, messages, length, 0, (struct sockaddr *)&kernel, sizeof kernel);
  while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

int netlink_has_name(int fd, int index, const char *name) {
  struct ifreq request = {.ifr_ifindex = index};
  if (ioctl(fd, SIOCGIFNAME, &request) != 0) return errno == ENODEV ? 0 : -1;
  return strncmp(request.ifr_name, name, IFNAMSIZ) == 0;
}

ssize_t netlink_receive(int fd, unsigned char *buffer, size_t capacity) {
  struct sockaddr_nl from = {0};
  socklen_t from_length = sizeof from;
  ssize_t received;
  /* MSG_TRUNC: the true length, also of what does not fit. */
  do
    received = recvfrom(fd, buffer, capacity, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &from_length);
  while (received < 0 && errno == EINTR);
  if (received < 0) return -1;
  /* Any process with CAP_NET_ADMIN can send to our port and to our groups; only the kernel has port 0. */
  if (from_length < sizeof from || from.nl_family != AF_NETLINK || from.nl_pid != 0) return 0;
  size_t length = (size_t)received, padded = NLMSG_ALIGN(length);
  if (padded > capacity) {
    errno = EMSGSIZE;
    return -1;
  }
  memset(buffer + length, 0, padded - length);
  return (ssize_t)padded;
}
