// SPDX-License-Identifier: GPL-2.0
/* Address handles: the destinations of datagrams. */
#include <linux/etherdevice.h>
#include <linux/slab.h>
#include <rdma/ib_cache.h>

#include "ah.h"

static int pb_create_ah(struct ib_ah *ib, struct rdma_ah_init_attr *init, struct ib_udata *udata)
{
	gfp_t gfp = init->flags & RDMA_CREATE_AH_SLEEPABLE ? pb_gfp(udata) : GFP_ATOMIC;
	const struct ib_global_route *grh = rdma_ah_read_grh(init->ah_attr);
	struct pb_device *dev = to_pb(ib->device);
	struct peerbar_create_ah_resp resp = {};
	struct pb_ah *ah = to_pb_ah(ib);
	struct ib_ucontext *ctx = NULL;
	struct pb_av *av;
	int ret;

	/* Use @udata: the core sets @ib->uobject later. */
	if (udata)
		ctx = &rdma_udata_to_drv_context(udata, struct pb_ucontext, ib)->ib;
	ret = pb_object_add(ctx, PB_AH);
	if (ret)
		return ret;
	av = kzalloc_obj(*av, gfp);
	if (!av) {
		pb_object_remove(ctx, PB_AH);
		return -ENOMEM;
	}
	av->pd = ib->pd;
	av->dgid = grh->dgid;
	av->sgid = grh->sgid_attr->gid;
	av->sl = rdma_ah_get_sl(init->ah_attr);
	av->hop_limit = grh->hop_limit;
	av->traffic_class = grh->traffic_class;
	/* A target may exist by the time of a send. Without one, the datagram is lost. */
	ether_addr_copy(av->dmac, init->ah_attr->roce.dmac);
	av->target = pb_find_device(dev, &av->dgid, av->dmac);
	av->attr = *init->ah_attr;
	av->attr.grh.sgid_attr = NULL;
	ah->av = av;
	if (!udata)
		return 0;
	ret = xa_alloc_cyclic(&dev->avs, &av->ahn, av, xa_limit_32b, &dev->next_av, gfp);
	if (ret < 0)
		goto err_free;
	resp.ahn = av->ahn;
	ret = ib_respond_udata(udata, resp);
	if (ret)
		goto err_erase;
	return 0;

err_erase:
	xa_erase(&dev->avs, av->ahn);
err_free:
	kfree_rcu(av, rcu);
	pb_object_remove(ctx, PB_AH);
	return ret;
}

static int pb_query_ah(struct ib_ah *ib, struct rdma_ah_attr *attr)
{
	const struct ib_gid_attr *sgid_attr = attr->grh.sgid_attr;

	*attr = to_pb_ah(ib)->av->attr;
	attr->grh.sgid_attr = sgid_attr;
	return 0;
}

static int pb_destroy_ah(struct ib_ah *ib, u32 flags)
{
	struct pb_ah *ah = to_pb_ah(ib);

	if (ah->av->ahn)
		xa_erase(&to_pb(ib->device)->avs, ah->av->ahn);
	kfree_rcu(ah->av, rcu);
	pb_object_remove(pb_context_of(ib->uobject), PB_AH);
	return 0;
}

/* Copy the address that user space refers to by number. */
int pb_av_get(struct pb_device *dev, struct ib_pd *pd, u32 ahn, struct pb_av *av)
{
	const struct pb_av *found;

	guard(rcu)();
	found = xa_load(&dev->avs, ahn);
	if (!found || found->pd != pd)
		return -EINVAL;
	*av = *found;
	return 0;
}

const struct ib_device_ops pb_ah_ops = {
	.create_ah = pb_create_ah,
	.create_user_ah = pb_create_ah,
	.destroy_ah = pb_destroy_ah,
	.query_ah = pb_query_ah,

	INIT_RDMA_OBJ_SIZE(ib_ah, pb_ah, ib),
};
