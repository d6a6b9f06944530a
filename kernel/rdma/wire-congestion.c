// SPDX-License-Identifier: GPL-2.0
/*
 * Congestion: the window of a requester, and the notifications that RoCE v2 has for it. A router
 * marks a packet (ECN), its receiver notifies the sender by a packet, and the sender slows down.
 */
#include <linux/ktime.h>

#include "wire.h"

/* A queue pair notifies its peer at most so often, as NICs do. */
#define PBR_CNP_INTERVAL_NS (50 * NSEC_PER_USEC)

void pbr_window_shrink(struct pbr_requester *out)
{
	out->window = max_t(u32, out->window / 2, PBR_MIN_WINDOW);
	out->grown = 0;
}

void pbr_window_grow(struct pbr_requester *out, u32 acknowledged)
{
	out->grown += acknowledged;
	if (out->window == PBR_WINDOW || out->grown < out->window)
		return;
	out->grown = 0;
	out->slowed = false;
	out->window = min_t(u32, out->window + out->window / 8, PBR_WINDOW);
}

void pbr_slow_down(struct pbr_requester *out)
{
	if (out->slowed)
		return;
	out->slowed = true;
	pbr_window_shrink(out);
}

void pbr_notify_congestion(struct pbr_qp *qp, struct pbr_route *route, u64 *last)
{
	u64 now = ktime_get_ns();
	struct sk_buff *skb;
	struct pbr_bth *bth;

	pbr_count(qp->dev, PBR_ECN_MARKED);
	if (*last && now - *last < PBR_CNP_INTERVAL_NS)
		return;
	skb = pbr_packet_alloc(PBR_CNP_BYTES, 0);
	if (!skb)
		return;
	*last = now;
	bth = (struct pbr_bth *)skb->data;
	pbr_bth_fill(bth, PBR_OPCODE_CNP, qp->attr.dest_qp_num, 0, 0, false, false);
	bth->qpn |= cpu_to_be32(PBR_BTH_BECN);
	pbr_packet_send(qp->dev, &qp->wire->path, route, skb);
	pbr_count(qp->dev, PBR_SENT_CNP);
}
