// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Queue pairs and XRC domains: verbs implemented by the kernel, and the mappings of the queues.
 */
#include "provider.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct create_qp_resp {
	struct ib_uverbs_create_qp_resp base;
	struct peerbar_create_qp_resp driver;
};
PV_DRIVER_FOLLOWS(create_qp_resp, ib_uverbs_create_qp_resp);

static int sq_init(struct pv_qp *qp, const struct peerbar_create_qp_resp *resp,
		   const struct ibv_qp_cap *cap)
{
	size_t payload = (size_t)cap->max_send_sge * sizeof(struct peerbar_sge);
	struct peerbar_qp_ring *ring = qp->memory.base;
	struct pv_sq *sq = &qp->sq;

	if (payload < resp->max_inline)
		payload = resp->max_inline;
	if (!pv_ring_fits(&qp->memory, resp->sq_entries_offset, resp->sq_entries, resp->sq_stride,
			  sizeof(struct peerbar_sqe) + payload))
		return EPROTO;
	sq->ring = &ring->sq;
	sq->first = (char *)qp->memory.base + resp->sq_entries_offset;
	sq->entries = resp->sq_entries;
	sq->stride = resp->sq_stride;
	sq->max_sge = cap->max_send_sge;
	sq->max_inline = resp->max_inline;
	return 0;
}

static int map_queues(struct ibv_context *context, struct pv_qp *qp,
		      const struct peerbar_create_qp_resp *resp, const struct ibv_qp_cap *cap)
{
	struct peerbar_qp_ring *ring;
	int ret;

	ret = pv_map(context, &qp->memory, resp->offset, resp->size);
	if (ret)
		return ret;
	ring = qp->memory.base;
	ret = sq_init(qp, resp, cap);
	if (!ret && resp->rq_entries)
		ret = pv_rq_init(&qp->rq, &qp->memory, &ring->rq, &ring->flags,
				 resp->rq_entries_offset, resp->rq_entries, resp->rq_stride,
				 cap->max_recv_sge);
	if (ret)
		pv_unmap(&qp->memory);
	return ret;
}

/* Returns whether all requested attributes are supported. */
static bool supported(const struct ibv_qp_init_attr_ex *attr)
{
	if (attr->comp_mask &
	    ~(IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_XRCD | IBV_QP_INIT_ATTR_CREATE_FLAGS |
	      IBV_QP_INIT_ATTR_SEND_OPS_FLAGS))
		return false;
	if ((attr->comp_mask & IBV_QP_INIT_ATTR_CREATE_FLAGS) && attr->create_flags)
		return false;
	return !(attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) ||
		pv_send_ops_supported(attr->qp_type, attr->send_ops_flags);
}

/* Libibverbs copies what the caller need not set: the objects that an XRC queue pair does not use. */
static void drop_unused(struct ibv_qp *qp)
{
	if (qp->qp_type != IBV_QPT_XRC_RECV && qp->qp_type != IBV_QPT_XRC_SEND)
		return;
	qp->recv_cq = NULL;
	qp->srq = NULL;
	if (qp->qp_type == IBV_QPT_XRC_SEND)
		return;
	qp->pd = NULL;
	qp->send_cq = NULL;
}

struct ibv_qp *pv_create_qp_ex(struct ibv_context *context, struct ibv_qp_init_attr_ex *attr)
{
	struct create_qp_resp resp = { 0 };
	struct ibv_create_qp cmd;
	struct pv_qp *qp;
	uint32_t mask;
	int ret;

	if (!supported(attr)) {
		errno = pv_fail(context, "ibv_create_qp_ex", EOPNOTSUPP,
				"type %d, comp_mask 0x%x, create_flags 0x%x or send_ops_flags 0x%llx are not supported",
				(int)attr->qp_type, attr->comp_mask,
				attr->comp_mask & IBV_QP_INIT_ATTR_CREATE_FLAGS ?
					attr->create_flags :
					0,
				attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS ?
					(unsigned long long)attr->send_ops_flags :
					0);
		return NULL;
	}
	qp = pv_alloc(context, "ibv_create_qp", sizeof(*qp));
	if (!qp)
		return NULL;
	/* Clear the mask bit of zero flags: libibverbs would use another command for them. */
	mask = attr->comp_mask;
	attr->comp_mask &= ~IBV_QP_INIT_ATTR_CREATE_FLAGS;
	ret = PV_COMMAND(context, ibv_cmd_create_qp_ex, context, &qp->vqp, attr, &cmd, sizeof(cmd),
			 &resp.base, sizeof(resp));
	attr->comp_mask = mask;
	if (ret) {
		pv_fail(context, "ibv_create_qp", ret,
			"the kernel refused type %d, %u sends of %u SGEs, %u receives of %u SGEs, %u bytes inline",
			(int)attr->qp_type, attr->cap.max_send_wr, attr->cap.max_send_sge,
			attr->cap.max_recv_wr, attr->cap.max_recv_sge, attr->cap.max_inline_data);
	} else if (attr->qp_type != IBV_QPT_XRC_RECV) {
		ret = map_queues(context, qp, &resp.driver, &attr->cap);
		if (ret) {
			pv_fail(context, "ibv_create_qp", ret,
				"cannot map the queues of %u sends and %u receives, 0x%x bytes",
				resp.driver.sq_entries, resp.driver.rq_entries,
				(unsigned int)resp.driver.size);
			PV_COMMAND(context, ibv_cmd_destroy_qp, &qp->vqp.qp);
		}
	}
	if (ret) {
		free(qp);
		errno = ret;
		return NULL;
	}
	drop_unused(&qp->vqp.qp);
	pthread_spin_init(&qp->sq.lock, PTHREAD_PROCESS_PRIVATE);
	pthread_spin_init(&qp->rq.lock, PTHREAD_PROCESS_PRIVATE);
	if (attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) {
		pv_set_send_ops(&qp->vqp.qp_ex, attr->send_ops_flags);
		qp->vqp.comp_mask |= VERBS_QP_EX;
	}
	return &qp->vqp.qp;
}

struct ibv_qp *pv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp_init_attr_ex ex = {
		.qp_context = attr->qp_context,
		.send_cq = attr->send_cq,
		.recv_cq = attr->recv_cq,
		.srq = attr->srq,
		.cap = attr->cap,
		.qp_type = attr->qp_type,
		.sq_sig_all = attr->sq_sig_all,
		.comp_mask = IBV_QP_INIT_ATTR_PD,
		.pd = pd,
	};
	struct ibv_qp *qp;

	qp = pv_create_qp_ex(pd->context, &ex);
	if (qp)
		attr->cap = ex.cap;
	return qp;
}

int pv_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
		struct ibv_qp_init_attr *init)
{
	struct ibv_query_qp cmd;
	int ret;

	ret = PV_COMMAND(qp->context, ibv_cmd_query_qp, qp, attr, mask, init, &cmd, sizeof(cmd));
	if (ret)
		pv_fail(qp->context, "ibv_query_qp", ret,
			"the kernel refused queue pair %u, mask 0x%x", qp->qp_num,
			(unsigned int)mask);
	return ret;
}

int pv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	struct ibv_modify_qp cmd = { 0 };
	int ret;

	ret = PV_COMMAND(qp->context, ibv_cmd_modify_qp, qp, attr, mask, &cmd, sizeof(cmd));
	if (ret)
		pv_fail(qp->context, "ibv_modify_qp", ret,
			"the kernel refused queue pair %u, state %d to %d, mask 0x%x", qp->qp_num,
			(int)qp->state, mask & IBV_QP_STATE ? (int)attr->qp_state : (int)qp->state,
			(unsigned int)mask);
	if (!ret && (mask & IBV_QP_STATE) && attr->qp_state == IBV_QPS_RESET) {
		/* Drop the completions from before the reset. */
		pv_cq_forget(qp->recv_cq, qp->qp_num);
		if (qp->send_cq != qp->recv_cq)
			pv_cq_forget(qp->send_cq, qp->qp_num);
	}
	return ret;
}

/*
 * Returns whether threads are in the doorbell call, after a short wait if there are. Bounded, since
 * fork() may have copied a count.
 */
static bool is_sending(struct pv_qp *qp, unsigned int *tries)
{
	static const struct timespec moment = { .tv_nsec = 200000 };

	if (!atomic_load(&qp->doorbells) || ++*tries > 10000)
		return false;
	nanosleep(&moment, NULL);
	return true;
}

int pv_destroy_qp(struct ibv_qp *ibv_qp)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct pv_qp *qp = to_qp(ibv_qp);
	struct ibv_modify_qp cmd = { 0 };
	unsigned int tries = 0;
	int ret;

	ret = ibv_cmd_destroy_qp(ibv_qp);
	if (ret == EBUSY && is_sending(qp, &tries)) {
		/* The kernel is executing a doorbell call: the error state ends it. */
		ibv_cmd_modify_qp(ibv_qp, &attr, IBV_QP_STATE, &cmd, sizeof(cmd));
		do
			ret = ibv_cmd_destroy_qp(ibv_qp);
		while (ret == EBUSY && is_sending(qp, &tries));
		if (ret == EBUSY)
			ret = ibv_cmd_destroy_qp(ibv_qp);
	}
	pv_log_command(ibv_qp->context, "ibv_cmd_destroy_qp", ret);
	if (ret)
		return pv_fail(ibv_qp->context, "ibv_destroy_qp", ret,
			       "the kernel refused queue pair %u", ibv_qp->qp_num);
	while (is_sending(qp, &tries))
		;
	/*
	 * Drop its completions: the program may have freed the objects that their wr_id refer to.
	 */
	pv_cq_forget(ibv_qp->recv_cq, ibv_qp->qp_num);
	if (ibv_qp->send_cq != ibv_qp->recv_cq)
		pv_cq_forget(ibv_qp->send_cq, ibv_qp->qp_num);
	pv_unmap(&qp->memory);
	pthread_spin_destroy(&qp->sq.lock);
	pthread_spin_destroy(&qp->rq.lock);
	free(qp);
	return 0;
}

/* ---- XRC domains, and targets of other processes */

struct ibv_xrcd *pv_open_xrcd(struct ibv_context *context, struct ibv_xrcd_init_attr *attr)
{
	struct ib_uverbs_open_xrcd_resp resp = { 0 };
	struct ibv_open_xrcd cmd = { 0 };
	struct verbs_xrcd *xrcd;
	int ret;

	xrcd = pv_alloc(context, "ibv_open_xrcd", sizeof(*xrcd));
	if (!xrcd)
		return NULL;
	ret = PV_COMMAND(context, ibv_cmd_open_xrcd, context, xrcd, sizeof(*xrcd), attr, &cmd,
			 sizeof(cmd), &resp, sizeof(resp));
	if (!ret)
		return &xrcd->xrcd;
	pv_fail(context, "ibv_open_xrcd", ret, "comp_mask 0x%x, fd %d or oflags 0x%x were refused",
		attr->comp_mask, attr->fd, (unsigned int)attr->oflags);
	free(xrcd);
	errno = ret;
	return NULL;
}

int pv_close_xrcd(struct ibv_xrcd *ibv_xrcd)
{
	struct verbs_xrcd *xrcd = container_of(ibv_xrcd, struct verbs_xrcd, xrcd);
	int ret;

	ret = PV_COMMAND(ibv_xrcd->context, ibv_cmd_close_xrcd, xrcd);
	if (ret)
		return pv_fail(ibv_xrcd->context, "ibv_close_xrcd", ret,
			       "the kernel refused it; queue pairs or shared receive queues may use it");
	free(xrcd);
	return 0;
}

struct ibv_qp *pv_open_qp(struct ibv_context *context, struct ibv_qp_open_attr *attr)
{
	struct ib_uverbs_create_qp_resp resp = { 0 };
	struct ibv_open_qp cmd = { 0 };
	struct pv_qp *qp;
	int ret;

	qp = pv_alloc(context, "ibv_open_qp", sizeof(*qp));
	if (!qp)
		return NULL;
	ret = PV_COMMAND(context, ibv_cmd_open_qp, context, &qp->vqp, sizeof(qp->vqp), attr, &cmd,
			 sizeof(cmd), &resp, sizeof(resp));
	if (ret) {
		pv_fail(context, "ibv_open_qp", ret,
			"comp_mask 0x%x, queue pair %u or type %d were refused", attr->comp_mask,
			attr->qp_num, (int)attr->qp_type);
		free(qp);
		errno = ret;
		return NULL;
	}
	pthread_spin_init(&qp->sq.lock, PTHREAD_PROCESS_PRIVATE);
	pthread_spin_init(&qp->rq.lock, PTHREAD_PROCESS_PRIVATE);
	return &qp->vqp.qp;
}
