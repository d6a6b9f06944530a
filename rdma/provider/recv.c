// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Receives of queue pairs and SRQs. Posting makes a system call only if the kernel requested it. */
#include "provider.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct ibv_sge) == sizeof(struct peerbar_sge) &&
		      offsetof(struct ibv_sge, addr) == offsetof(struct peerbar_sge, addr) &&
		      offsetof(struct ibv_sge, length) == offsetof(struct peerbar_sge, length) &&
		      offsetof(struct ibv_sge, lkey) == offsetof(struct peerbar_sge, lkey),
	      "struct peerbar_sge is struct ibv_sge");

/* pv_rq_init(): set up a queue of @entries at @offset in @memory; EPROTO if it does not fit. */
int pv_rq_init(struct pv_rq *rq, const struct pv_memory *memory, struct peerbar_ring *ring,
	       const uint32_t *flags, uint32_t offset, uint32_t entries, uint32_t stride,
	       uint32_t max_sge)
{
	if (!pv_ring_fits(memory, offset, entries, stride,
			  sizeof(struct peerbar_rqe) +
				  (size_t)max_sge * sizeof(struct peerbar_sge)))
		return EPROTO;
	rq->ring = ring;
	rq->flags = flags;
	rq->first = (char *)memory->base + offset;
	rq->entries = entries;
	rq->stride = stride;
	rq->max_sge = max_sge;
	return 0;
}

/* Post a list; set @kick if the kernel requested a call. */
static int post(struct ibv_context *context, const char *verb, struct pv_rq *rq,
		struct ibv_recv_wr *wr, struct ibv_recv_wr **bad, bool *kick)
{
	struct peerbar_rqe *rqe;
	uint32_t producer;
	int ret = 0;

	*kick = false;
	pthread_spin_lock(&rq->lock);
	producer = rq->producer;
	for (; wr; wr = wr->next) {
		if (!rq->ring)
			ret = EIO;
		else if ((unsigned int)wr->num_sge > rq->max_sge)
			ret = EINVAL;
		else if (pv_full(rq->ring, producer, rq->entries))
			ret = ENOMEM;
		if (ret) {
			*bad = wr;
			break;
		}
		rqe = (void *)((char *)rq->first +
			       (size_t)(producer & (rq->entries - 1)) * rq->stride);
		rqe->wr_id = wr->wr_id;
		rqe->num_sge = wr->num_sge;
		rqe->reserved = 0;
		if (wr->num_sge)
			memcpy(rqe->sge, wr->sg_list, wr->num_sge * sizeof(*rqe->sge));
		producer++;
	}
	if (rq->ring) {
		rq->producer = producer;
		pv_store(&rq->ring->producer, producer);
		/*
		 * Pairs with the kernel's barrier: either the kernel sees the new index, or this
		 * sees its request.
		 */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		*kick = __atomic_load_n(rq->flags, __ATOMIC_RELAXED) & PEERBAR_RING_KICK;
	}
	pthread_spin_unlock(&rq->lock);
	if (ret == EIO)
		pv_fail(context, verb, ret, "its ring was not mapped after a resize");
	else if (ret == ENOMEM)
		pv_fail(context, verb, ret, "wr_id 0x%llx: all %u entries are in use",
			(unsigned long long)wr->wr_id, rq->entries);
	else if (ret)
		pv_fail(context, verb, ret, "wr_id 0x%llx: %d SGEs are refused, it takes %u",
			(unsigned long long)wr->wr_id, wr->num_sge, rq->max_sge);
	return ret;
}

int pv_post_recv(struct ibv_qp *ibv_qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct pv_qp *qp = to_qp(ibv_qp);
	struct ibv_recv_wr *none;
	bool kick;
	int ret;

	if (!qp->rq.ring || ibv_qp->state == IBV_QPS_RESET) {
		*bad = wr;
		return pv_fail(ibv_qp->context, "ibv_post_recv", EINVAL,
			       "queue pair %u in state %d has %u entries for receives",
			       ibv_qp->qp_num, (int)ibv_qp->state, qp->rq.entries);
	}
	if (pv_inherited(&qp->memory)) {
		*bad = wr;
		return pv_fail(ibv_qp->context, "ibv_post_recv", EACCES,
			       "another process created queue pair %u", ibv_qp->qp_num);
	}
	ret = post(ibv_qp->context, "ibv_post_recv", &qp->rq, wr, bad, &kick);
	if (kick)
		ibv_cmd_post_recv(ibv_qp, NULL, &none);
	return ret;
}

/* ---- shared receive queues */

struct create_srq_resp {
	struct ib_uverbs_create_srq_resp base;
	struct peerbar_create_srq_resp driver;
};
PV_DRIVER_FOLLOWS(create_srq_resp, ib_uverbs_create_srq_resp);

/* Finish both kinds of creation, after the kernel's part returned @ret. */
static struct ibv_srq *created(struct ibv_context *context, struct pv_srq *srq, const char *verb,
			       int ret, const struct peerbar_create_srq_resp *resp,
			       const struct ibv_srq_attr *attr)
{
	struct peerbar_srq_ring *ring;

	if (ret) {
		pv_fail(context, verb, ret, "the kernel refused %u receives of %u SGEs, limit %u",
			attr->max_wr, attr->max_sge, attr->srq_limit);
	} else {
		ret = pv_map(context, &srq->memory, resp->offset, resp->size);
		ring = srq->memory.base;
		if (!ret)
			ret = pv_rq_init(&srq->rq, &srq->memory, &ring->rq, &ring->flags,
					 sizeof(*ring), resp->entries, resp->stride, attr->max_sge);
		if (ret) {
			pv_fail(context, verb, ret,
				"cannot map the queue of %u receives, 0x%x bytes", resp->entries,
				(unsigned int)resp->size);
			pv_unmap(&srq->memory);
			PV_COMMAND(context, ibv_cmd_destroy_srq, &srq->vsrq.srq);
		}
	}
	if (ret) {
		free(srq);
		errno = ret;
		return NULL;
	}
	srq->srqn = resp->srqn;
	pthread_spin_init(&srq->rq.lock, PTHREAD_PROCESS_PRIVATE);
	return &srq->vsrq.srq;
}

struct ibv_srq *pv_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr)
{
	struct create_srq_resp resp = { 0 };
	struct ibv_create_srq cmd;
	struct pv_srq *srq;
	int ret;

	srq = pv_alloc(pd->context, "ibv_create_srq", sizeof(*srq));
	if (!srq)
		return NULL;
	ret = PV_COMMAND(pd->context, ibv_cmd_create_srq, pd, &srq->vsrq.srq, attr, &cmd,
			 sizeof(cmd), &resp.base, sizeof(resp));
	return created(pd->context, srq, "ibv_create_srq", ret, &resp.driver, &attr->attr);
}

struct ibv_srq *pv_create_srq_ex(struct ibv_context *context, struct ibv_srq_init_attr_ex *attr)
{
	bool xrc = (attr->comp_mask & IBV_SRQ_INIT_ATTR_TYPE) && attr->srq_type == IBV_SRQT_XRC;
	struct create_srq_resp resp = { 0 };
	struct ibv_create_xsrq cmd;
	struct pv_srq *srq;
	int ret;

	if ((attr->comp_mask &
	     ~(IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD |
	       (xrc ? IBV_SRQ_INIT_ATTR_XRCD | IBV_SRQ_INIT_ATTR_CQ : 0))) ||
	    ((attr->comp_mask & IBV_SRQ_INIT_ATTR_TYPE) && !xrc &&
	     attr->srq_type != IBV_SRQT_BASIC)) {
		errno = pv_fail(context, "ibv_create_srq_ex", EOPNOTSUPP,
				"comp_mask 0x%x or type %d is not supported", attr->comp_mask,
				attr->comp_mask & IBV_SRQ_INIT_ATTR_TYPE ? (int)attr->srq_type : 0);
		return NULL;
	}
	srq = pv_alloc(context, "ibv_create_srq_ex", sizeof(*srq));
	if (!srq)
		return NULL;
	ret = PV_COMMAND(context, ibv_cmd_create_srq_ex, context, &srq->vsrq, attr, &cmd,
			 sizeof(cmd), &resp.base, sizeof(resp));
	return created(context, srq, "ibv_create_srq_ex", ret, &resp.driver, &attr->attr);
}

struct modify_srq_req {
	struct ibv_modify_srq base;
	struct peerbar_modify_srq_req driver;
};
PV_DRIVER_FOLLOWS(modify_srq_req, ibv_modify_srq);

/* Map the ring that replaces that of @srq. If this fails, posting fails with EIO from then on. */
static int replace_ring(struct pv_srq *srq, const struct peerbar_resize_srq_resp *resp)
{
	struct peerbar_srq_ring *ring;
	int ret;

	pv_unmap(&srq->memory);
	srq->rq.ring = NULL;
	ret = pv_map(srq->vsrq.srq.context, &srq->memory, resp->offset, resp->size);
	if (ret)
		return ret;
	ring = srq->memory.base;
	ret = pv_rq_init(&srq->rq, &srq->memory, &ring->rq, &ring->flags, sizeof(*ring),
			 resp->entries, srq->rq.stride, srq->rq.max_sge);
	if (ret)
		pv_unmap(&srq->memory);
	return ret;
}

int pv_modify_srq(struct ibv_srq *ibv_srq, struct ibv_srq_attr *attr, int mask)
{
	struct peerbar_resize_srq_resp resp = { 0 };
	struct pv_srq *srq = to_srq(ibv_srq);
	struct modify_srq_req cmd = { .driver.resp = (uintptr_t)&resp };
	const bool resize = mask & IBV_SRQ_MAX_WR;
	int ret, command;

	if (resize && pv_inherited(&srq->memory))
		return pv_fail(ibv_srq->context, "ibv_modify_srq", EACCES,
			       "another process created the queue");
	/* The kernel moves the entries: don't post any meanwhile. */
	if (resize)
		pthread_spin_lock(&srq->rq.lock);
	command = ibv_cmd_modify_srq(ibv_srq, attr, mask, &cmd.base, sizeof(cmd));
	ret = command;
	if (!ret && resize)
		ret = replace_ring(srq, &resp);
	if (resize)
		pthread_spin_unlock(&srq->rq.lock);
	pv_log_command(ibv_srq->context, "ibv_cmd_modify_srq", command);
	if (command)
		pv_fail(ibv_srq->context, "ibv_modify_srq", ret,
			"the kernel refused mask 0x%x, max_wr %u, limit %u", (unsigned int)mask,
			attr->max_wr, attr->srq_limit);
	else if (ret)
		pv_fail(ibv_srq->context, "ibv_modify_srq", ret,
			"cannot map the queue of %u receives, 0x%x bytes", resp.entries,
			(unsigned int)resp.size);
	return ret;
}

int pv_query_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr)
{
	struct ibv_query_srq cmd;
	int ret;

	ret = PV_COMMAND(srq->context, ibv_cmd_query_srq, srq, attr, &cmd, sizeof(cmd));
	if (ret)
		pv_fail(srq->context, "ibv_query_srq", ret, "the kernel refused handle %u",
			srq->handle);
	return ret;
}

int pv_get_srq_num(struct ibv_srq *srq, uint32_t *number)
{
	*number = to_srq(srq)->srqn;
	return 0;
}

int pv_destroy_srq(struct ibv_srq *ibv_srq)
{
	struct pv_srq *srq = to_srq(ibv_srq);
	int ret;

	ret = PV_COMMAND(ibv_srq->context, ibv_cmd_destroy_srq, ibv_srq);
	if (ret)
		return pv_fail(ibv_srq->context, "ibv_destroy_srq", ret,
			       "the kernel refused it; queue pairs may use it");
	if (srq->vsrq.srq_type == IBV_SRQT_XRC)
		pv_cq_forget_srq(srq->vsrq.cq, srq->srqn);
	pv_unmap(&srq->memory);
	pthread_spin_destroy(&srq->rq.lock);
	free(srq);
	return 0;
}

int pv_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct ibv_recv_wr *none;
	bool kick;
	int ret;

	if (pv_inherited(&to_srq(srq)->memory)) {
		*bad = wr;
		return pv_fail(srq->context, "ibv_post_srq_recv", EACCES,
			       "another process created the queue");
	}
	ret = post(srq->context, "ibv_post_srq_recv", &to_srq(srq)->rq, wr, bad, &kick);
	if (kick)
		ibv_cmd_post_srq_recv(srq, NULL, &none);
	return ret;
}
