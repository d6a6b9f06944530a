/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The generic netlink family "peerbar". */
#ifndef PB_NETLINK_H
#define PB_NETLINK_H

#include <netlink/attr.h>
#include <netlink/handlers.h>
#include <netlink/socket.h>

#include "peerbar.h"

/* An attribute's number; 0 if the attribute is too short. */
uint64_t pb_nla_u64(const struct nlattr *a);
uint32_t pb_nla_u32(const struct nlattr *a);
/* Copy a text, truncated if it is too long. The kernel may or may not terminate it with a NUL. */
void pb_nla_text(const struct nlattr *a, char *to, size_t size);
/* Fail with the errno for libnl's @error; @what completes "cannot ...". */
int pb_fail_netlink(int error, const char *what, struct pb_error *err);
/*
 * Returns a connected socket, and the family's number in *@family; NULL, and -errno in *@ret, on
 * failure. @what completes "cannot ...".
 */
struct nl_sock *pb_netlink_connect(int *family, const char *what, int *ret, struct pb_error *err);
/*
 * Request a dump, and call @take for each message. Returns 0 or a negative error of libnl;
 * -NLE_INTR: a signal interrupted the kernel, discard what was taken and repeat.
 */
int pb_netlink_dump(struct nl_sock *sk, int family, uint8_t command, nl_recvmsg_msg_cb_t take,
		    void *arg);

#endif
