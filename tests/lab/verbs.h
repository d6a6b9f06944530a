/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the tests of the verbs device share: the device, its link, queue pairs that are connected with each other, and work that
 * is posted, waited for and looked at.
 *
 * The device is that of the environment's LAB_RDMA, pb0 without it. A name that begins with "rxe" is one of the kernel's own rxe,
 * which has no dma-bufs: it shows that what the tests expect of verbs is not our invention.
 */
#ifndef VERBS_H
#define VERBS_H

#include <infiniband/verbs.h>

#include "fixture.h"

#define ALL_ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)
#define REMOTE_ACCESS (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)
#define QKEY 0x11223344u
#define GRH_BYTES 40
#define NIC0_IP "10.77.0.1"
#define NIC1_IP "10.77.1.1"
#define NIC0_MAC "52:54:00:00:00:01"
#define NIC1_MAC "52:54:00:00:00:02"
/* what a second host has, where a test makes one of the second NIC; and one that nobody has. Both are behind the first NIC. */
#define OTHER_HOST_IP "10.77.0.2"
#define NOBODY_IP "10.77.0.99"

const char *rdma_name(void);
bool rdma_is_rxe(void);

/* the NIC below the device: its PCI address; @n is 0 or 1 */
const char *nic_bdf(unsigned int n);
/* its network device */
void nic_name(unsigned int nic, char *name, size_t size);

/* load the modules, give the NICs their addresses, make the device: for unchecked fixtures; it does nothing the second time */
void rdma_link_up(void);
/* a NIC's address, and its carrier */
void rdma_nic_up(unsigned int nic);
/* make and remove a link on a NIC: 0, or the exit status of the rdma command */
int rdma_link_add(const char *name, unsigned int nic);
int rdma_link_del(const char *name);

/* ---- one end ---- */

/* the type of queue pairs whose options name none: RC until this is called */
void ends_have_type(enum ibv_qp_type type);
/* whether that type has reads and atomics, and a peer that answers */
bool ends_are_reliable(void);

struct end_options {
	enum ibv_qp_type type;	 /* 0: that of ends_have_type() */
	unsigned int depth;	 /* of both queues; 0: 64 */
	unsigned int cqe;	 /* of the completion queue; 0: 256 */
	unsigned int sges;	 /* of both queues; 0: 8 */
	unsigned int inline_len; /* 0: 64 */
	bool events;		 /* the completion queue has a channel */
	bool all_signaled;
	unsigned int srq;	/* receives come from a shared queue of so many */
	struct ibv_srq *shared; /* or from this one */
	int access;		/* of the queue pair for its peer; 0: all. -1: none */
	const char *device;	/* NULL: the one of the tests */
};

struct end {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq; /* of both queues */
	struct ibv_srq *srq;
	struct ibv_qp *qp;
	int gid_index;
	union ibv_gid gid;
	bool borrowed; /* context, protection domain and completion queue are another end's */
	int access;
	uint32_t psn;
	/* may be changed before it is connected */
	uint8_t timeout, retries, rnr_retries;
};

/* what the other end has to know */
struct address {
	uint32_t qpn;
	uint32_t psn;
	union ibv_gid gid;
};

struct ibv_context *verbs_open(const char *name);
/* a context, protection domain, completion queue and queue pair, in RESET; all from @options, which may be NULL */
void end_open(struct end *end, const struct end_options *options);
/* another queue pair on what @of has */
void end_open_beside(struct end *end, const struct end *of, const struct end_options *options);
void end_close(struct end *end);
struct address end_address(const struct end *end);
/* the steps of a connection: 0, or the errno */
int end_to_init(struct end *end);
int end_to_rtr(struct end *end, const struct address *peer);
int end_to_rts(struct end *end);
int end_to(struct end *end, enum ibv_qp_state state);
/* all of them, both ways; for UD, which has no peer, each by itself */
void end_connect(struct end *end, const struct address *peer);
void ends_connect(struct end *a, struct end *b);
/* other queue pairs instead of these, after an error; what had completed is forgotten */
void ends_anew(struct end *a, struct end *b);
void forget_completions(struct end *end);
enum ibv_qp_state end_state(struct end *end);
/* it gets there within a second */
void end_state_is(struct end *end, enum ibv_qp_state state);

/* ---- memory ---- */

struct mem {
	uint8_t *p;
	uint64_t addr;
	size_t size;
	struct ibv_mr *mr;
};

struct mem mem_new(struct end *end, size_t size, int access);
void mem_free(struct mem *mem);
struct ibv_sge sge(const struct mem *mem, size_t offset, size_t length);

/* ---- work ---- */

/* a request for the memory of the other end; there is nothing remote if @remote is NULL. All are signaled. */
struct ibv_send_wr work(uint64_t id, enum ibv_wr_opcode opcode, struct ibv_sge *sges, int n, const struct mem *remote,
			size_t offset);
/* 0, or the errno */
int post(struct end *end, struct ibv_send_wr *wr);
int post_receive(struct end *end, uint64_t id, struct ibv_sge *sges, int n);
/* the next completion; the test fails if none comes in time */
struct ibv_wc completion(struct end *end);
/* it is that of @id, with this status */
struct ibv_wc completes(struct end *end, uint64_t id, enum ibv_wc_status status);
/* there is none, also a moment later */
void nothing_completes(struct end *end);
/* post it and see it done */
void done(struct end *end, struct ibv_send_wr *wr);
void fails(struct end *end, struct ibv_send_wr *wr, enum ibv_wc_status status);

/* the next asynchronous event of this kind comes within a few seconds; others are passed over */
void event_comes(struct end *end, enum ibv_event_type type);
bool event_waits(struct end *end, enum ibv_event_type type, int milliseconds);

/* whole structures through a socket */
void tell(int sock, const void *data, size_t size);
void hear(int sock, void *data, size_t size);

/* milliseconds of a clock that only goes forward */
uint64_t now_ms(void);

#endif
