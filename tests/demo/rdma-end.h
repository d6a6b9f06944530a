/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Ends of reliable connections of the demonstration's RDMA devices. Each function exits if it fails. */
#ifndef RDMA_END_H
#define RDMA_END_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One end of a connection. */
struct end {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	union ibv_gid gid;
	int gid_index;
};

/* The peer's parameters of the connection. */
struct address {
	union ibv_gid gid;
	uint32_t qpn;
	uint32_t rkey;
};

/* Check that a call of libibverbs succeeded. */
void verbs(bool ok, const char *what);

/* Open the device, and create a queue pair. The GID is the device's first IPv4 address. */
void end_open(struct end *end, const char *device);
void end_close(struct end *end);

void end_connect(struct end *end, const struct address *peer);
/* Connect again after an error. */
void end_reconnect(struct end *end, const struct address *peer);

/* Write @len bytes from the begin of @mr to the peer. Return the status. */
enum ibv_wc_status write_to(struct end *end, struct ibv_mr *mr, uint32_t len, uint64_t remote,
			    uint32_t rkey);

/* Check that a read or write of a socket was complete. */
void whole(ssize_t n, size_t size);

#endif
