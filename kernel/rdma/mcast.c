// SPDX-License-Identifier: GPL-2.0
/* Multicast: which queue pairs hear what is sent to a group. All peerbar devices of this host are on one wire. */
#include <linux/slab.h>

#include "rdma.h"

struct pb_member {
	struct list_head node;
	union ib_gid gid;
	struct pb_qp *qp;
};

static LIST_HEAD(pb_members);
static DEFINE_SPINLOCK(pb_members_lock); /* the list; a leaf */

static struct pb_member *pb_member_find(const struct pb_qp *qp, const union ib_gid *gid)
{
	struct pb_member *member;

	list_for_each_entry(member, &pb_members, node)
		if (member->qp == qp && !memcmp(&member->gid, gid, sizeof(*gid)))
			return member;
	return NULL;
}

static int pb_attach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid)
{
	struct pb_member *member;

	if (ib->qp_type != IB_QPT_UD)
		return -EINVAL;
	member = kzalloc_obj(*member);
	if (!member)
		return -ENOMEM;
	member->gid = *gid;
	member->qp = to_pb_qp(ib);
	spin_lock(&pb_members_lock);
	/* once is enough */
	if (pb_member_find(member->qp, gid))
		kfree(member);
	else
		list_add(&member->node, &pb_members);
	spin_unlock(&pb_members_lock);
	return 0;
}

static int pb_detach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid)
{
	struct pb_member *member;

	spin_lock(&pb_members_lock);
	member = pb_member_find(to_pb_qp(ib), gid);
	if (member)
		list_del(&member->node);
	spin_unlock(&pb_members_lock);
	kfree(member);
	return member ? 0 : -EINVAL;
}

struct pb_qp *pb_mcast_next(const union ib_gid *gid, u32 after)
{
	struct pb_qp *next = NULL;
	struct pb_member *member;

	guard(spinlock)(&pb_members_lock);
	list_for_each_entry(member, &pb_members, node)
		if (!memcmp(&member->gid, gid, sizeof(*gid)) && member->qp->ib.qp_num > after && pb_answers(member->qp) &&
		    (!next || member->qp->ib.qp_num < next->ib.qp_num))
			next = member->qp;
	/* one that is being destroyed is as good as the last: who has left is not missed */
	return next && pb_qp_get(next) ? next : NULL;
}

const struct ib_device_ops pb_mcast_ops = {
	.attach_mcast = pb_attach_mcast,
	.detach_mcast = pb_detach_mcast,
};
