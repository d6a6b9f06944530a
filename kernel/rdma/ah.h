/* SPDX-License-Identifier: GPL-2.0 */
/* Address handles. */
#ifndef _PEERBAR_RDMA_AH_H
#define _PEERBAR_RDMA_AH_H

#include <linux/if_ether.h>

#include "rdma.h"

/* destination of a message; read under RCU, except @attr */
struct pbr_av {
	struct rcu_head rcu;
	struct rdma_ah_attr attr;
	struct ib_pd *pd;
	union ib_gid sgid;
	union ib_gid dgid;
	u32 target;
	u32 ahn;
	int ifindex; /* of the network device that has @sgid */
	u32 flow_label;
	u16 vlan_id; /* of that network device, or PBR_NO_VLAN */
	u8 sl;
	u8 hop_limit;
	u8 traffic_class;
	u8 dmac[ETH_ALEN];
};

struct pbr_ah {
	struct ib_ah ib;
	struct pbr_av *av;
};

static inline struct pbr_ah *to_pbr_ah(struct ib_ah *ib)
{
	return container_of(ib, struct pbr_ah, ib);
}

/* ah.c */
extern const struct ib_device_ops pbr_ah_ops;
int pbr_av_get(struct pbr_device *dev, struct ib_pd *pd, u32 ahn, struct pbr_av *av);

#endif
