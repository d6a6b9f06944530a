/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The generic netlink family "peerbar". */
#ifndef PB_NETLINK_H
#define PB_NETLINK_H

#include <netlink/socket.h>

#include "peerbar.h"

/* Fail with the errno for libnl's @error; @what completes "cannot ...". */
int pb_fail_netlink(int error, const char *what, struct pb_error *err);
/*
 * Returns a connected socket, and the family's number in *@family; NULL, and -errno in *@ret, on
 * failure. @what completes "cannot ...".
 */
struct nl_sock *pb_netlink_connect(int *family, const char *what, int *ret, struct pb_error *err);

#endif
