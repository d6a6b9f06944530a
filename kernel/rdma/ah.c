// SPDX-License-Identifier: GPL-2.0
/* Address handles: the destinations of datagrams. */
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <rdma/ib_cache.h>

#include "ah.h"

static int pbr_create_ah(struct ib_ah *ib, struct rdma_ah_init_attr *init, struct ib_udata *udata)
{
	gfp_t gfp = init->flags & RDMA_CREATE_AH_SLEEPABLE ? pbr_gfp(udata) : GFP_ATOMIC;
	const struct ib_global_route *grh = rdma_ah_read_grh(init->ah_attr);
	struct pbr_device *dev = to_pbr(ib->device);
	struct peerbar_create_ah_resp resp = {};
	struct pbr_ah *ah = to_pbr_ah(ib);
	struct ib_ucontext *ctx = NULL;
	struct net_device *ndev;
	struct pbr_av *av;
	int ret;

	/* Use @udata: the core sets @ib->uobject later. */
	if (udata)
		ctx = &rdma_udata_to_drv_context(udata, struct pbr_ucontext, ib)->ib;
	ret = pbr_object_add(ctx, PBR_AH);
	if (ret)
		return ret;
	av = kzalloc_obj(*av, gfp);
	if (!av) {
		pbr_object_remove(ctx, PBR_AH);
		return -ENOMEM;
	}
	av->pd = ib->pd;
	av->dgid = grh->dgid;
	av->sgid = grh->sgid_attr->gid;
	av->sl = rdma_ah_get_sl(init->ah_attr);
	av->hop_limit = grh->hop_limit;
	av->traffic_class = grh->traffic_class;
	av->flow_label = grh->flow_label;
	scoped_guard(rcu) {
		ndev = rdma_read_gid_attr_ndev_rcu(grh->sgid_attr);
		if (!IS_ERR(ndev)) {
			av->ifindex = ndev->ifindex;
			av->vlan_id = pbr_vlan_of(ndev);
		}
	}
	/* A target may exist by the time of a send. Without one, the datagram is lost. */
	ether_addr_copy(av->dmac, init->ah_attr->roce.dmac);
	av->target = pbr_find_device(dev, &av->dgid, av->dmac);
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
	pbr_object_remove(ctx, PBR_AH);
	return ret;
}

static int pbr_query_ah(struct ib_ah *ib, struct rdma_ah_attr *attr)
{
	const struct ib_gid_attr *sgid_attr = attr->grh.sgid_attr;

	*attr = to_pbr_ah(ib)->av->attr;
	attr->grh.sgid_attr = sgid_attr;
	return 0;
}

static int pbr_destroy_ah(struct ib_ah *ib, u32 flags)
{
	struct pbr_ah *ah = to_pbr_ah(ib);

	if (ah->av->ahn)
		xa_erase(&to_pbr(ib->device)->avs, ah->av->ahn);
	kfree_rcu(ah->av, rcu);
	pbr_object_remove(pbr_context_of(ib->uobject), PBR_AH);
	return 0;
}

/* Copy the address that user space refers to by number. */
int pbr_av_get(struct pbr_device *dev, struct ib_pd *pd, u32 ahn, struct pbr_av *av)
{
	const struct pbr_av *found;

	guard(rcu)();
	found = xa_load(&dev->avs, ahn);
	if (!found || found->pd != pd)
		return pbr_fail(&dev->ib, -EINVAL,
				"send: the protection domain has no address handle with number %u",
				ahn);
	*av = *found;
	return 0;
}

const struct ib_device_ops pbr_ah_ops = {
	.create_ah = pbr_create_ah,
	.create_user_ah = pbr_create_ah,
	.destroy_ah = pbr_destroy_ah,
	.query_ah = pbr_query_ah,

	INIT_RDMA_OBJ_SIZE(ib_ah, pbr_ah, ib),
};
