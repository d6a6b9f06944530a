// SPDX-License-Identifier: GPL-2.0
/* What a queue pair needs for the wire: allocation, connection, states. */
#include <linux/slab.h>

#include "wire.h"

static size_t pbr_entry_size(const struct pbr_qp *qp)
{
	return qp->sq.stride;
}

int pbr_wire_alloc(struct pbr_qp *qp)
{
	gfp_t gfp = pbr_gfp(qp->user);
	struct pbr_wire *wire = qp->wire;
	unsigned int i;

	if (!wire) {
		wire = kvzalloc_obj(*wire, gfp);
		if (!wire)
			return -ENOMEM;
		skb_queue_head_init(&wire->requests);
		skb_queue_head_init(&wire->responses);
		qp->wire = wire;
	}
	if (pbr_is_datagram(qp) || wire->entries)
		return 0;
	wire->entries = kvcalloc(PBR_FLIGHTS, pbr_entry_size(qp), gfp);
	if (!wire->entries)
		return -ENOMEM;
	for (i = 0; i < PBR_FLIGHTS; i++)
		wire->requester.flight[i].sqe = wire->entries + i * pbr_entry_size(qp) +
			((void *)qp->sqe - qp->entry);
	return 0;
}

void pbr_wire_free(struct pbr_qp *qp)
{
	struct pbr_wire *wire = qp->wire;

	if (!wire)
		return;
	pbr_packets_purge(qp->dev, &wire->requests);
	pbr_packets_purge(qp->dev, &wire->responses);
	pbr_route_drop(&wire->out);
	pbr_route_drop(&wire->in);
	kvfree(wire->entries);
	kvfree(wire);
}

int pbr_wire_connect(struct pbr_qp *qp, const struct ib_qp_attr *attr, int mask)
{
	u32 peer = mask & IB_QP_DEST_QPN ? attr->dest_qp_num : qp->attr.dest_qp_num;
	enum ib_mtu mtu = mask & IB_QP_PATH_MTU ? attr->path_mtu : qp->attr.path_mtu;
	const union ib_gid *dgid = &rdma_ah_read_grh(&attr->ah_attr)->dgid;
	int ret;

	if (!pbr_wire_is_up(qp->dev)) {
		dev_notice_ratelimited(&qp->dev->ib.dev,
				       "cannot connect a queue pair to %pI6c: no peerbar device of this host has that address, and there is no transport to other hosts\n",
				       dgid->raw);
		return -EHOSTUNREACH;
	}
	if (mtu > READ_ONCE(qp->dev->active_mtu))
		return pbr_fail(&qp->dev->ib, -EINVAL,
				"modify_qp: qp %u: path_mtu is %d; the MTU of the network device permits %d",
				qp->ib.qp_num, ib_mtu_enum_to_int(mtu),
				ib_mtu_enum_to_int(READ_ONCE(qp->dev->active_mtu)));
	ret = pbr_wire_alloc(qp);
	if (ret)
		return ret;
	mutex_lock(&qp->sq_lock);
	mutex_lock(&qp->rq_lock);
	pbr_route_drop(&qp->wire->out);
	pbr_route_drop(&qp->wire->in);
	pbr_path_init(&qp->wire->path, &attr->ah_attr, qp->ib.qp_num, peer);
	qp->wire->mtu = ib_mtu_enum_to_int(mtu);
	WRITE_ONCE(qp->on_wire, true);
	mutex_unlock(&qp->rq_lock);
	mutex_unlock(&qp->sq_lock);
	return 0;
}

void pbr_wire_start(struct pbr_qp *qp, enum ib_qp_state state)
{
	struct pbr_requester *out = &qp->wire->requester;

	if (state == IB_QPS_RTR) {
		qp->wire->responder.psn = qp->attr.rq_psn & PBR_PSN_MASK;
		return;
	}
	out->una = qp->attr.sq_psn & PBR_PSN_MASK;
	out->send = out->una;
	out->max = out->una;
	out->next = out->una;
	out->window = PBR_WINDOW;
	out->retries = qp->attr.retry_cnt;
}

void pbr_wire_reset(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;

	pbr_packets_purge(qp->dev, &qp->wire->requests);
	pbr_packets_purge(qp->dev, &qp->wire->responses);
	pbr_route_drop(&qp->wire->out);
	pbr_route_drop(&qp->wire->in);
	memset(&qp->wire->responder, 0, sizeof(qp->wire->responder));
	/* Keep the flights, which have their entries. */
	memset(out, 0, offsetof(struct pbr_requester, flight));
	WRITE_ONCE(qp->on_wire, false);
}
