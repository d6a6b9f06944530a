/* SPDX-License-Identifier: GPL-2.0 */
/* Address handles. */
#ifndef _PEERBAR_RDMA_AH_H
#define _PEERBAR_RDMA_AH_H

#include <linux/if_ether.h>

#include "rdma.h"

/* destination of a message; read under RCU, except @attr */
struct pb_av {
	struct rcu_head rcu;
	struct rdma_ah_attr attr;
	struct ib_pd *pd;
	union ib_gid sgid;
	union ib_gid dgid;
	u32 target;
	u32 ahn;
	u8 sl;
	u8 hop_limit;
	u8 traffic_class;
	u8 dmac[ETH_ALEN];
};

struct pb_ah {
	struct ib_ah ib;
	struct pb_av *av;
};

static inline struct pb_ah *to_pb_ah(struct ib_ah *ib) { return container_of(ib, struct pb_ah, ib); }

/* ah.c */
extern const struct ib_device_ops pb_ah_ops;
int pb_av_get(struct pb_device *dev, struct ib_pd *pd, u32 ahn, struct pb_av *av);

#endif
