// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Completion queues. Polling makes no system call, by ibv_poll_cq() or by ibv_start_poll() and its
 * companions.
 */
#include "provider.h"

#include <errno.h>
#include <stdlib.h>

#define WC_FLAGS                                                                \
	(IBV_WC_EX_WITH_BYTE_LEN | IBV_WC_EX_WITH_IMM | IBV_WC_EX_WITH_QP_NUM | \
	 IBV_WC_EX_WITH_SRC_QP | IBV_WC_EX_WITH_SLID | IBV_WC_EX_WITH_SL |      \
	 IBV_WC_EX_WITH_DLID_PATH_BITS | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP)

struct create_cq_resp {
	struct ib_uverbs_create_cq_resp base;
	struct peerbar_create_cq_resp driver;
};
PV_DRIVER_FOLLOWS(create_cq_resp, ib_uverbs_create_cq_resp);

struct create_cq_ex_resp {
	struct ib_uverbs_ex_create_cq_resp base;
	struct peerbar_create_cq_resp driver;
};
PV_DRIVER_FOLLOWS(create_cq_ex_resp, ib_uverbs_ex_create_cq_resp);

struct resize_cq_resp {
	struct ib_uverbs_resize_cq_resp base;
	struct peerbar_resize_cq_resp driver;
};
PV_DRIVER_FOLLOWS(resize_cq_resp, ib_uverbs_resize_cq_resp);

static inline struct peerbar_ring *ring_of(const struct pv_cq *cq)
{
	return &((struct peerbar_cq_ring *)cq->memory.base)->cq;
}

static inline struct peerbar_cqe *entry_of(const struct pv_cq *cq, uint32_t index)
{
	struct peerbar_cqe *entries = (void *)((struct peerbar_cq_ring *)cq->memory.base + 1);

	return &entries[index & (cq->entries - 1)];
}

static inline void lock(struct pv_cq *cq)
{
	if (!cq->unlocked)
		pthread_spin_lock(&cq->lock);
}

static inline void unlock(struct pv_cq *cq)
{
	if (!cq->unlocked)
		pthread_spin_unlock(&cq->lock);
}

static int map_ring(struct ibv_context *context, struct pv_memory *memory, uint64_t offset,
		    uint32_t size, uint32_t entries)
{
	int ret;

	ret = pv_map(context, memory, offset, size);
	if (ret)
		return ret;
	if (!pv_ring_fits(memory, sizeof(struct peerbar_cq_ring), entries,
			  sizeof(struct peerbar_cqe), sizeof(struct peerbar_cqe))) {
		pv_unmap(memory);
		return EPROTO;
	}
	return 0;
}

/* Finish both kinds of creation, after the kernel's part returned @ret. */
static int created(struct ibv_context *context, struct pv_cq *cq, const char *verb, uint32_t cqe,
		   int ret, const struct peerbar_create_cq_resp *resp)
{
	if (ret) {
		pv_fail(context, verb, ret, "the kernel refused %u entries", cqe);
	} else {
		ret = map_ring(context, &cq->memory, resp->offset, resp->size, resp->entries);
		if (ret) {
			pv_fail(context, verb, ret, "cannot map the ring of %u entries, 0x%x bytes",
				resp->entries, (unsigned int)resp->size);
			PV_COMMAND(context, ibv_cmd_destroy_cq, &cq->vcq.cq);
		}
	}
	if (ret) {
		free(cq);
		errno = ret;
		return ret;
	}
	cq->entries = resp->entries;
	pthread_spin_init(&cq->lock, PTHREAD_PROCESS_PRIVATE);
	return 0;
}

struct ibv_cq *pv_create_cq(struct ibv_context *context, int cqe, struct ibv_comp_channel *channel,
			    int comp_vector)
{
	struct create_cq_resp resp = { 0 };
	struct ibv_create_cq cmd;
	struct pv_cq *cq;
	int ret;

	cq = pv_alloc(context, "ibv_create_cq", sizeof(*cq));
	if (!cq)
		return NULL;
	ret = PV_COMMAND(context, ibv_cmd_create_cq, context, cqe, channel, comp_vector,
			 &cq->vcq.cq, &cmd, sizeof(cmd), &resp.base, sizeof(resp));
	if (created(context, cq, "ibv_create_cq", (uint32_t)cqe, ret, &resp.driver))
		return NULL;
	return &cq->vcq.cq;
}

int pv_resize_cq(struct ibv_cq *ibv_cq, int cqe)
{
	struct resize_cq_resp resp = { 0 };
	struct ibv_resize_cq cmd;
	struct pv_cq *cq = to_cq(ibv_cq);
	struct pv_memory memory = { 0 };
	int ret, command;

	if (pv_inherited(&cq->memory))
		return pv_fail(ibv_cq->context, "ibv_resize_cq", EACCES,
			       "another process created the queue");
	/* The kernel moves the entries: don't consume any meanwhile. */
	lock(cq);
	command = ibv_cmd_resize_cq(ibv_cq, cqe, &cmd, sizeof(cmd), &resp.base, sizeof(resp));
	ret = command;
	if (!ret) {
		ret = map_ring(ibv_cq->context, &memory, resp.driver.offset, resp.driver.size,
			       resp.driver.entries);
		/* If this failed, the CQ has no ring, and polling fails with EIO. */
		pv_unmap(&cq->memory);
		if (!ret)
			cq->memory = memory;
		cq->entries = resp.driver.entries;
		cq->consumer = 0;
	}
	unlock(cq);
	pv_log_command(ibv_cq->context, "ibv_cmd_resize_cq", command);
	if (command)
		pv_fail(ibv_cq->context, "ibv_resize_cq", ret, "the kernel refused %d entries",
			cqe);
	else if (ret)
		pv_fail(ibv_cq->context, "ibv_resize_cq", ret, "cannot map the ring of %u entries",
			cq->entries);
	return ret;
}

int pv_req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	int ret = ibv_cmd_req_notify_cq(cq, solicited_only);

	if (ret)
		pv_fail(cq->context, "ibv_req_notify_cq", ret,
			"the kernel refused solicited_only %d", solicited_only);
	return ret;
}

int pv_destroy_cq(struct ibv_cq *ibv_cq)
{
	struct pv_cq *cq = to_cq(ibv_cq);
	int ret;

	ret = PV_COMMAND(ibv_cq->context, ibv_cmd_destroy_cq, ibv_cq);
	if (ret)
		return pv_fail(ibv_cq->context, "ibv_destroy_cq", ret,
			       "the kernel refused it; queue pairs may use it");
	pv_unmap(&cq->memory);
	pthread_spin_destroy(&cq->lock);
	free(cq);
	return 0;
}

/*
 * lock_ring(): lock the ring. Returns 0 with the lock held; EACCES if the process was forked from
 * the ring's process, possibly without the thread that holds the lock; EIO if there is no ring,
 * after a resize that could not map the new one.
 */
static inline int lock_ring(struct pv_cq *cq)
{
	if (pv_inherited(&cq->memory))
		return EACCES;
	lock(cq);
	if (cq->memory.base)
		return 0;
	unlock(cq);
	return EIO;
}

static int __attribute__((cold, noinline)) poll_failed(const struct pv_cq *cq, const char *verb,
						       int code)
{
	const char *why = "its ring is corrupted, or was not mapped after a resize";

	if (code == EACCES)
		why = "another process created the queue";
	return pv_fail(cq->vcq.cq.context, verb, code, "%s", why);
}

/*
 * Returns the number of entries from @index on. More than the ring has if the program overwrote the
 * kernel's index.
 */
static inline uint32_t waiting(const struct pv_cq *cq, uint32_t index)
{
	return pv_load(&ring_of(cq)->producer) - index;
}

static inline void consumed(struct pv_cq *cq, uint32_t index)
{
	cq->consumer = index;
	pv_store(&ring_of(cq)->consumer, index);
}

/*
 * Drop the completions of a queue pair, or with @qpn 0, of an XRC queue. The kernel only writes
 * after the last entry, so the others can be moved towards it.
 */
static void forget(struct pv_cq *cq, uint32_t qpn, uint32_t srqn)
{
	uint32_t from, to, left;

	if (lock_ring(cq))
		return;
	left = waiting(cq, cq->consumer);
	/* Don't change a corrupted ring; polling it fails with EIO. */
	if (left <= cq->entries) {
		from = to = cq->consumer + left;
		while (left--)
			if ((qpn ? entry_of(cq, --from)->qp_num != qpn :
				   entry_of(cq, --from)->srqn != srqn) &&
			    --to != from)
				*entry_of(cq, to) = *entry_of(cq, from);
		consumed(cq, to);
	}
	unlock(cq);
}

/* pv_cq_forget(): drop the completions of a queue pair that was reset or destroyed. */
void pv_cq_forget(struct ibv_cq *cq, uint32_t qpn)
{
	/* XRC queue pairs have no receives of their own, and targets no sends. */
	if (cq)
		forget(to_cq(cq), qpn, 0);
}

/* pv_cq_forget_srq(): drop the completions of an XRC queue that was destroyed. */
void pv_cq_forget_srq(struct ibv_cq *cq, uint32_t srqn)
{
	forget(to_cq(cq), 0, srqn);
}

/* ---- ibv_poll_cq() */

static void to_wc(struct ibv_wc *wc, const struct peerbar_cqe *cqe)
{
	wc->wr_id = cqe->wr_id;
	wc->status = cqe->status;
	wc->opcode = cqe->opcode;
	wc->vendor_err = cqe->vendor_err;
	wc->byte_len = cqe->byte_len;
	wc->imm_data = (__be32)cqe->imm_data;
	wc->qp_num = cqe->qp_num;
	wc->src_qp = cqe->src_qp;
	wc->wc_flags = cqe->wc_flags;
	wc->pkey_index = cqe->pkey_index;
	wc->slid = 0;
	wc->sl = cqe->sl;
	wc->dlid_path_bits = 0;
}

int pv_poll_cq(struct ibv_cq *ibv_cq, int count, struct ibv_wc *wc)
{
	struct pv_cq *cq = to_cq(ibv_cq);
	uint32_t left;
	int n, ret;

	ret = lock_ring(cq);
	if (ret)
		return -poll_failed(cq, "ibv_poll_cq", ret);
	left = waiting(cq, cq->consumer);
	if (left > cq->entries) {
		unlock(cq);
		return -poll_failed(cq, "ibv_poll_cq", EIO);
	}
	for (n = 0; n < count && left--; n++)
		to_wc(&wc[n], entry_of(cq, cq->consumer + (uint32_t)n));
	if (n)
		consumed(cq, cq->consumer + (uint32_t)n);
	unlock(cq);
	return n;
}

/* ---- ibv_start_poll() */

static inline struct pv_cq *to_cq_ex(struct ibv_cq_ex *cq)
{
	return container_of(cq, struct pv_cq, vcq.cq_ex);
}

static inline const struct peerbar_cqe *current_of(struct ibv_cq_ex *cq_ex)
{
	const struct pv_cq *cq = to_cq_ex(cq_ex);

	return entry_of(cq, cq->current);
}

/*
 * Make the entry at @index the current one. Returns ENOENT if there is none, EIO if the ring is
 * corrupted.
 */
static int advance(struct pv_cq *cq, uint32_t index)
{
	const struct peerbar_cqe *cqe;
	uint32_t left = waiting(cq, index);

	if (!left)
		return ENOENT;
	if (left > cq->entries)
		return EIO;
	cq->current = index;
	cqe = entry_of(cq, index);
	cq->vcq.cq_ex.wr_id = cqe->wr_id;
	cq->vcq.cq_ex.status = cqe->status;
	return 0;
}

static int start_poll(struct ibv_cq_ex *cq_ex, struct ibv_poll_cq_attr *attr)
{
	struct pv_cq *cq = to_cq_ex(cq_ex);
	int ret;

	if (attr->comp_mask)
		return pv_fail(cq->vcq.cq.context, "ibv_start_poll", EINVAL,
			       "comp_mask 0x%x is not supported", attr->comp_mask);
	ret = lock_ring(cq);
	if (ret)
		return poll_failed(cq, "ibv_start_poll", ret);
	ret = advance(cq, cq->consumer);
	if (ret) {
		unlock(cq);
		if (ret != ENOENT)
			poll_failed(cq, "ibv_start_poll", ret);
	}
	return ret;
}

/* end_poll follows, whether there is another entry or not. */
static int next_poll(struct ibv_cq_ex *cq_ex)
{
	struct pv_cq *cq = to_cq_ex(cq_ex);
	uint32_t current = cq->current;
	int ret;

	ret = advance(cq, current + 1);
	if (!ret)
		consumed(cq, current + 1);
	return ret;
}

static void end_poll(struct ibv_cq_ex *cq_ex)
{
	struct pv_cq *cq = to_cq_ex(cq_ex);

	consumed(cq, cq->current + 1);
	unlock(cq);
}

static enum ibv_wc_opcode read_opcode(struct ibv_cq_ex *cq)
{
	return current_of(cq)->opcode;
}

static uint32_t read_vendor_err(struct ibv_cq_ex *cq)
{
	return current_of(cq)->vendor_err;
}

static unsigned int read_wc_flags(struct ibv_cq_ex *cq)
{
	return current_of(cq)->wc_flags;
}

static uint32_t read_byte_len(struct ibv_cq_ex *cq)
{
	return current_of(cq)->byte_len;
}

static __be32 read_imm_data(struct ibv_cq_ex *cq)
{
	return (__be32)current_of(cq)->imm_data;
}

static uint32_t read_qp_num(struct ibv_cq_ex *cq)
{
	return current_of(cq)->qp_num;
}

static uint32_t read_src_qp(struct ibv_cq_ex *cq)
{
	return current_of(cq)->src_qp;
}

/* Ethernet has no LIDs. */
static uint32_t read_slid(struct ibv_cq_ex *cq)
{
	(void)cq;
	return 0;
}

static uint8_t read_sl(struct ibv_cq_ex *cq)
{
	return current_of(cq)->sl;
}

static uint8_t read_dlid_path_bits(struct ibv_cq_ex *cq)
{
	(void)cq;
	return 0;
}

static uint64_t read_completion_ts(struct ibv_cq_ex *cq)
{
	return current_of(cq)->timestamp;
}

struct ibv_cq_ex *pv_create_cq_ex(struct ibv_context *context, struct ibv_cq_init_attr_ex *attr)
{
	struct create_cq_ex_resp resp = { 0 };
	struct ibv_create_cq_ex cmd;
	struct ibv_cq_ex *ex;
	struct pv_cq *cq;
	int ret;

	if ((attr->wc_flags & ~(uint64_t)WC_FLAGS) ||
	    (attr->comp_mask & ~(IBV_CQ_INIT_ATTR_MASK_FLAGS | IBV_CQ_INIT_ATTR_MASK_PD)) ||
	    ((attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS) &&
	     (attr->flags & ~IBV_CREATE_CQ_ATTR_SINGLE_THREADED))) {
		errno = pv_fail(context, "ibv_create_cq_ex", EOPNOTSUPP,
				"wc_flags 0x%llx, comp_mask 0x%x or flags 0x%x are not supported",
				(unsigned long long)attr->wc_flags, attr->comp_mask,
				attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS ? attr->flags : 0);
		return NULL;
	}
	cq = pv_alloc(context, "ibv_create_cq_ex", sizeof(*cq));
	if (!cq)
		return NULL;
	/* Every completion has a time stamp: don't ask the kernel for them. */
#ifdef CREATE_CQ_EX_TAKES_PROV_ATTR
	ret = PV_COMMAND(context, ibv_cmd_create_cq_ex, context, attr, NULL, &cq->vcq, &cmd,
			 sizeof(cmd), &resp.base, sizeof(resp), CREATE_CQ_CMD_FLAGS_TS_IGNORED_EX);
#else
	ret = PV_COMMAND(context, ibv_cmd_create_cq_ex, context, attr, &cq->vcq, &cmd, sizeof(cmd),
			 &resp.base, sizeof(resp), CREATE_CQ_CMD_FLAGS_TS_IGNORED_EX);
#endif
	if (created(context, cq, "ibv_create_cq_ex", attr->cqe, ret, &resp.driver))
		return NULL;
	cq->unlocked = (attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS) &&
		(attr->flags & IBV_CREATE_CQ_ATTR_SINGLE_THREADED);
	ex = &cq->vcq.cq_ex;
	ex->start_poll = start_poll;
	ex->next_poll = next_poll;
	ex->end_poll = end_poll;
	ex->read_opcode = read_opcode;
	ex->read_vendor_err = read_vendor_err;
	ex->read_wc_flags = read_wc_flags;
	if (attr->wc_flags & IBV_WC_EX_WITH_BYTE_LEN)
		ex->read_byte_len = read_byte_len;
	if (attr->wc_flags & IBV_WC_EX_WITH_IMM)
		ex->read_imm_data = read_imm_data;
	if (attr->wc_flags & IBV_WC_EX_WITH_QP_NUM)
		ex->read_qp_num = read_qp_num;
	if (attr->wc_flags & IBV_WC_EX_WITH_SRC_QP)
		ex->read_src_qp = read_src_qp;
	if (attr->wc_flags & IBV_WC_EX_WITH_SLID)
		ex->read_slid = read_slid;
	if (attr->wc_flags & IBV_WC_EX_WITH_SL)
		ex->read_sl = read_sl;
	if (attr->wc_flags & IBV_WC_EX_WITH_DLID_PATH_BITS)
		ex->read_dlid_path_bits = read_dlid_path_bits;
	if (attr->wc_flags & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP)
		ex->read_completion_ts = read_completion_ts;
	return ex;
}
