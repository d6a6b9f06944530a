/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The fixtures of the suite rdma: two ends with memory of each. */
#ifndef RDMA_FIXTURE_H
#define RDMA_FIXTURE_H

#include "verbs.h"

#define MEM (256 * KIB) /* of each end */

/* Connected queue pairs of a type, and unconnected ones. */
void rc_up(void);
void uc_up(void);
void ud_up(void);
void unconnected_up(void);
void pair_down(void);

/*
 * Open a queue pair beside @of for the ibv_wr_*() calls of @ops; @cq has the completions of both
 * queues.
 */
void end_open_for_calls(struct end *end, const struct end *of, struct ibv_cq *cq, uint64_t ops);

/* Fill pair.a's memory with a pattern, and pair.b's with 0xee. */
void prepare(uint32_t seed);
/*
 * Check that pair.b has exactly these bytes of pair.a, and that the bytes around them are
 * unchanged.
 */
void arrived(size_t to, size_t from, size_t length);

/* Read and write a word of memory at any alignment. */
uint64_t word(const struct mem *mem, size_t offset);
void set_word(const struct mem *mem, size_t offset, uint64_t value);

/* Check that the end is in the error state, and that new work is flushed. */
void is_flushed(struct end *end);
/* Wait for the asynchronous event at the responder; rxe has none. */
void responder_event(enum ibv_event_type type);

/* Whether a request takes a receive of the peer's. */
bool takes_receive(enum ibv_wr_opcode opcode);
/* A new descriptor that names an XRC domain; the caller closes it. */
int domain_fd(void);

/* ---- two processes ---- */

/* fork(). *sock is this process's end of a pair of sockets. */
int fork_with_socket(int *sock);

/* A process's queue pair and memory. */
struct offer {
	struct address address;
	uint64_t addr;
	uint32_t rkey;
};

/* Exchange offers with the other process, and connect the queue pairs. */
void trade(int sock, struct end *end, const struct mem *mem, struct offer *theirs);
/* Build a write to the other process's memory. */
struct ibv_send_wr write_of(struct ibv_sge *from, const struct offer *there, size_t offset);

#endif
