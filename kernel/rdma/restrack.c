// SPDX-License-Identifier: GPL-2.0
/* Attributes of objects that "rdma resource show" prints in addition to those of the core. */
#include <net/netlink.h>
#include <rdma/rdma_netlink.h>
#include <rdma/restrack.h>

#include "cq.h"
#include "qp.h"

static const char *pbr_mr_kind_name(enum pbr_mr_kind kind)
{
	switch (kind) {
	case PBR_MR_PAGES:
		return "memory";
	case PBR_MR_USER:
		return "memory-on-demand";
	case PBR_MR_SEGMENTS:
		return "dma-buf";
	case PBR_MR_FAST:
		return "fast";
	case PBR_MR_DMA:
		return "all";
	default:
		return "window";
	}
}

static int pbr_fill_res_mr_entry(struct sk_buff *msg, struct ib_mr *ib)
{
	const struct pbr_mr *mr = to_pbr_mr(ib);
	struct nlattr *table;

	table = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);
	if (!table)
		return -EMSGSIZE;
	if (rdma_nl_put_driver_string(msg, "kind", pbr_mr_kind_name(mr->kind)) ||
	    rdma_nl_put_driver_u32(msg, "revoked", READ_ONCE(mr->revoked)) ||
	    rdma_nl_put_driver_u32(msg, "on_demand", mr->on_demand) ||
	    rdma_nl_put_driver_u32(msg, "windows", max(atomic_read(&mr->windows), 0))) {
		nla_nest_cancel(msg, table);
		return -EMSGSIZE;
	}
	nla_nest_end(msg, table);
	return 0;
}

static int pbr_fill_res_cq_entry(struct sk_buff *msg, struct ib_cq *ib)
{
	struct pbr_cq *cq = to_pbr_cq(ib);
	struct nlattr *table;
	bool overflow;
	u32 fill;

	spin_lock_irq(&cq->lock);
	fill = pbr_cq_fill(cq);
	overflow = cq->overflow;
	spin_unlock_irq(&cq->lock);
	table = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);
	if (!table)
		return -EMSGSIZE;
	if (rdma_nl_put_driver_u32(msg, "unpolled", fill) ||
	    rdma_nl_put_driver_u32(msg, "overflow", overflow)) {
		nla_nest_cancel(msg, table);
		return -EMSGSIZE;
	}
	nla_nest_end(msg, table);
	return 0;
}

static int pbr_fill_res_qp_entry(struct sk_buff *msg, struct ib_qp *ib)
{
	const struct pbr_qp *qp = to_pbr_qp(ib);
	struct nlattr *table;

	table = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);
	if (!table)
		return -EMSGSIZE;
	if (rdma_nl_put_driver_u32(msg, "sends", pbr_queue_length(&qp->sq)) ||
	    rdma_nl_put_driver_u32(msg, "receives", pbr_queue_length(&qp->rq.queue)) ||
	    rdma_nl_put_driver_u32(msg, "waiting", READ_ONCE(qp->waiting))) {
		nla_nest_cancel(msg, table);
		return -EMSGSIZE;
	}
	nla_nest_end(msg, table);
	return 0;
}

static int pbr_fill_res_srq_entry(struct sk_buff *msg, struct ib_srq *ib)
{
	struct pbr_srq *srq = to_pbr_srq(ib);
	struct nlattr *table;

	table = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);
	if (!table)
		return -EMSGSIZE;
	if (rdma_nl_put_driver_u32(msg, "receives", pbr_srq_length(srq)) ||
	    rdma_nl_put_driver_u32(msg, "limit", READ_ONCE(srq->limit))) {
		nla_nest_cancel(msg, table);
		return -EMSGSIZE;
	}
	nla_nest_end(msg, table);
	return 0;
}

const struct ib_device_ops pbr_restrack_ops = {
	.fill_res_cq_entry = pbr_fill_res_cq_entry,
	.fill_res_mr_entry = pbr_fill_res_mr_entry,
	.fill_res_qp_entry = pbr_fill_res_qp_entry,
	.fill_res_srq_entry = pbr_fill_res_srq_entry,
};
