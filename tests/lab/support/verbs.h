/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Helpers of the tests of the verbs device: the device, its link, connected queue pairs, and work
 * requests: post them, wait for them, check them.
 *
 * LAB_RDMA names the device, pb0 by default. A name that begins with "rxe" is a device of the
 * kernel's rxe, which has no dma-bufs: the suites pass there too, so their expectations are those
 * of verbs.
 */
#ifndef VERBS_H
#define VERBS_H

#include <infiniband/verbs.h>

#include "fixture.h"

#define ALL_ACCESS                                                                   \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC)
#define REMOTE_ACCESS (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)
#define QKEY	      0x11223344u
#define GRH_BYTES     40
#define NIC0_IP	      "10.77.0.1"
#define NIC1_IP	      "10.77.1.1"
#define NIC0_MAC      "52:54:00:00:00:01"
#define NIC1_MAC      "52:54:00:00:00:02"
/*
 * Of a second host, where a test makes one of the second NIC; of no host. Both are behind the first
 * NIC.
 */
#define OTHER_HOST_IP "10.77.0.2"
#define NOBODY_IP     "10.77.0.99"

const char *rdma_name(void);
bool rdma_is_rxe(void);
/* Whether LAB_WIRE is set: the device reaches queue pairs of this host by packets, too. */
bool rdma_is_wire(void);

/* Return the PCI address of the NIC below the device; @n is 0 or 1. */
const char *nic_bdf(unsigned int n);
/* Return its network device. */
void nic_name(unsigned int nic, char *name, size_t size);

/*
 * Load the modules, set the NICs' addresses, create the device. For unchecked fixtures; does
 * nothing the second time.
 */
void rdma_link_up(void);
/*
 * Create the device anew, if there is one, with or without the wire. Without, rxe can have its UDP
 * port.
 */
void rdma_set_wire(bool on);
/*
 * Add a test case to the suite whose tests find the RDMA link up. @up and @down, NULL for none, run
 * around each test, which may take @timeout seconds.
 */
TCase *rdma_case(Suite *s, const char *name, double timeout, void (*up)(void), void (*down)(void));
/* Set a NIC's address and bring its link up. */
void rdma_nic_up(unsigned int nic);
/* Create and remove a link on a NIC: 0, or the exit status of the rdma command. */
int rdma_link_add(const char *name, unsigned int nic);
int rdma_link_del(const char *name);
/* Wait until a device is gone: that of a NIC ends a moment after it. */
void rdma_device_goes(const char *name);
/* Enter the network namespace "lab", which a test makes for another host or a container. */
void enter_netns(void);

/* ---- ends ---- */

/* Set the default type of queue pairs. It is RC until then. */
void ends_have_type(enum ibv_qp_type type);
/* Return whether that type has reads and atomics, and a peer that acknowledges. */
bool ends_are_reliable(void);

struct end_options {
	enum ibv_qp_type type;	 /* 0: that of ends_have_type() */
	unsigned int depth;	 /* of both queues; 0: 64 */
	unsigned int cqe;	 /* of the completion queue; 0: 256 */
	unsigned int sges;	 /* of both queues; 0: 8 */
	unsigned int inline_len; /* 0: 64 */
	bool events;		 /* the completion queue has a channel */
	bool all_signaled;
	unsigned int srq;	/* size of a new shared receive queue; 0: none */
	struct ibv_srq *shared; /* use this shared receive queue */
	int domain;		/* of an XRC target: a descriptor names it. 0: one of its own */
	uint32_t target;	/* open this XRC target. 0: create one */
	int access;		/* of the queue pair for its peer; 0: all. -1: none */
	const char *device;	/* NULL: the default device */
	uint64_t calls;		/* the ibv_wr_*() calls that it permits; 0: ibv_post_send() only */
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
	/* May be changed before the end is connected. */
	uint8_t timeout, retries, rnr_retries;
	struct ibv_xrcd
		*xrcd; /* of an XRC target; @srq is a queue of it, whose completions @cq has */
	uint32_t remote_srqn; /* of an XRC initiator: post() sends to this queue */
};

/* The peer's parameters of a connection. */
struct address {
	uint32_t qpn;
	uint32_t psn;
	union ibv_gid gid;
};

struct ibv_context *verbs_open(const char *name);
/*
 * Open a context, protection domain, completion queue and queue pair, in RESET. @options may be
 * NULL.
 */
void end_open(struct end *end, const struct end_options *options);
/* Open another queue pair on the objects of @of. */
void end_open_beside(struct end *end, const struct end *of, const struct end_options *options);
void end_close(struct end *end);
/* Return the number of the end's shared receive queue. */
/*
 * For a device that is gone: check that calls fail, and release what the process has, with @mr, a
 * region of this end.
 */
void end_leave(struct end *end, struct ibv_mr *mr);
uint32_t end_srqn(const struct end *end);
struct address end_address(const struct end *end);
/* Create an address handle for datagrams to a GID, also of a multicast group. */
struct ibv_ah *end_handle(struct end *end, const union ibv_gid *gid);
/* The steps of a connection: 0, or the errno. */
int end_to_init(struct end *end);
int end_to_rtr(struct end *end, const struct address *peer);
int end_to_rts(struct end *end);
int end_to(struct end *end, enum ibv_qp_state state);
/*
 * All steps, for both ends; for UD, which has no peer, for each end by itself. Of XRC, @a is the
 * initiator.
 */
void end_connect(struct end *end, const struct address *peer);
void ends_connect(struct end *a, struct end *b);
/* Replace the queue pairs after an error, and discard their completions. */
void replace_qps(struct end *a, struct end *b);
void forget_completions(struct end *end);
enum ibv_qp_state end_state(struct end *end);
/* Check that the queue pair enters @state within a second. */
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

/* Two ends, which a test connects with each other, and memory of each if it needs that. */
struct pair {
	struct end a, b;
	struct mem at_a, at_b;
};

/* The two ends of most suites. */
extern struct pair pair;

/* Open both ends with these options, which may be NULL, and @size bytes of memory of each. */
void pair_open(struct pair *p, const struct end_options *options, size_t size);
void pair_close(struct pair *p);

/* ---- work ---- */

/* Build a signaled request for the peer's memory. If @remote is NULL, it accesses none. */
struct ibv_send_wr work(uint64_t id, enum ibv_wr_opcode opcode, struct ibv_sge *sges, int n,
			const struct mem *remote, size_t offset);
/* Return 0, or the errno. */
int post(struct end *end, struct ibv_send_wr *wr);
int post_receive(struct end *end, uint64_t id, struct ibv_sge *sges, int n);
/* Return the next completion. Fail the test if none comes in time. */
struct ibv_wc completion(struct end *end);
/* Check that the next completion is that of @id with this status. */
struct ibv_wc completes(struct end *end, uint64_t id, enum ibv_wc_status status);
/* Check that there is no completion, and none a moment later. */
void nothing_completes(struct end *end);
/* ---- verbs-calls.c: requests that only the ibv_wr_*() calls make ---- */

#define FLUSH_CALLS (IBV_QP_EX_WITH_FLUSH | IBV_QP_EX_WITH_ATOMIC_WRITE)

/* Begin a list of calls with a signaled request. */
struct ibv_qp_ex *call_begin(struct end *end, uint64_t id);
/* Write 8 bytes atomically, or flush what was written; the request completes with @status. */
void atomic_write(struct end *end, const struct mem *remote, size_t offset, uint64_t value,
		  enum ibv_wc_status status);
void flush_range(struct end *end, const struct mem *remote, size_t offset, size_t length,
		 enum ibv_wc_status status);
/* Flush with these types and this level, whatever they are. */
void flush_as(struct end *end, const struct mem *remote, size_t offset, size_t length, uint8_t type,
	      uint8_t level, enum ibv_wc_status status);

/* Post a request and wait until it succeeds, or fails with @status. */
void done(struct end *end, struct ibv_send_wr *wr);
void fails(struct end *end, struct ibv_send_wr *wr, enum ibv_wc_status status);

/* Wait a few seconds for the next asynchronous event of this type. Skip others. */
void event_comes(struct end *end, enum ibv_event_type type);
bool event_waits(struct end *end, enum ibv_event_type type, int milliseconds);

/* Send and receive whole structures on a socket. */
void send_all(int sock, const void *data, size_t size);
void receive_all(int sock, void *data, size_t size);

/* Return the milliseconds of a monotonic clock. */
uint64_t now_ms(void);

#endif
