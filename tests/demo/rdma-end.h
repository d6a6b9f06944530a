/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Reliable connections of the demonstration: an owner of a buffer of the GPU's BAR, and a writer in
 * another process. Each function exits if it fails.
 */
#ifndef RDMA_END_H
#define RDMA_END_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "peerbar.h"

#define OWNER_IP "10.9.8.1" /* of pb0 */

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

/*
 * Exchange addresses with the other process over the socket, and connect. The owner is connected
 * before the writer has its address.
 */
void connect_owner(struct end *end, int sock, uint32_t rkey, struct address *peer);
void connect_writer(struct end *end, int sock, struct address *peer);
/* Connect again after an error. */
void end_reconnect(struct end *end, const struct address *peer);

/* Registered memory for a writer, at mr->addr. */
struct ibv_mr *source_open(struct end *end, size_t size);
void source_close(struct ibv_mr *mr);

/* Write @len bytes from the begin of @mr to the peer. Return the status. */
enum ibv_wc_status write_to(struct end *end, struct ibv_mr *mr, uint32_t len, uint64_t remote,
			    uint32_t rkey);

/* A buffer of the GPU's BAR, and an end of pb0 with it as @mr, which is NULL if that fails. */
struct target {
	struct pb_iommu *iommu;
	struct pb_device *gpu;
	struct pb_buffer *buffer;
	struct end end;
	struct ibv_mr *mr;
};

void target_open(struct target *target, uint64_t offset, uint64_t size);
void target_close(struct target *target);

/* Start a process that runs @writer with one end of a connection of sockets. */
pid_t writer_start(void (*writer)(int sock), int *sock);
/* Close the socket, and return whether the process ends by itself. */
bool writer_end(pid_t pid, int sock);

/* Check that a read or write of a socket was complete. */
void whole(ssize_t n, size_t size);

#endif
