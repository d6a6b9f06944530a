// SPDX-License-Identifier: GPL-2.0
/*
 * Multicast: the queue pairs of each group. A message reaches the members on all peerbar devices of
 * one network namespace, as on one wire.
 */
#include <linux/rbtree.h>
#include <linux/slab.h>

#include "qp.h"

/* A queue pair in a group; sorted by network namespace, group, and queue pair */
struct pbr_member {
	struct rb_node node;
	const struct net *net;
	union ib_gid gid;
	u32 qpn;
	struct pbr_qp *qp;
};

static struct rb_root pbr_members = RB_ROOT;
static DEFINE_SPINLOCK(pbr_members_lock); /* protects the tree; a leaf */

static int pbr_member_cmp(const struct pbr_member *a, const struct pbr_member *b)
{
	if (a->net != b->net)
		return a->net < b->net ? -1 : 1;
	return memcmp(&a->gid, &b->gid, sizeof(a->gid)) ?: a->qpn < b->qpn ? -1 : a->qpn > b->qpn;
}

static int pbr_member_cmp_node(const void *key, const struct rb_node *node)
{
	return pbr_member_cmp(key, rb_entry(node, struct pbr_member, node));
}

static struct pbr_member pbr_member_of(const struct pbr_qp *qp, const union ib_gid *gid)
{
	return (struct pbr_member){ .net = qp->dev->net, .gid = *gid, .qpn = qp->ib.qp_num };
}

/* Return false if the queue pair is in the group already. */
static bool pbr_member_insert(struct pbr_member *member)
{
	struct rb_node **link = &pbr_members.rb_node, *parent = NULL;
	struct pbr_member *other;
	int cmp;

	guard(spinlock)(&pbr_members_lock);
	while (*link) {
		parent = *link;
		other = rb_entry(parent, struct pbr_member, node);
		cmp = pbr_member_cmp(member, other);
		if (!cmp)
			return false;
		link = cmp < 0 ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&member->node, parent, link);
	rb_insert_color(&member->node, &pbr_members);
	return true;
}

static int pbr_attach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid)
{
	struct pbr_qp *qp = to_pbr_qp(ib);
	struct ib_ucontext *ctx = pbr_buf_context(qp->buf);
	struct pbr_member *member;
	int ret;

	if (ib->qp_type != IB_QPT_UD)
		return pbr_fail(ib->device, -EINVAL,
				"attach_mcast: qp %u has type %d; only UD, %d, can be a member",
				ib->qp_num, ib->qp_type, IB_QPT_UD);
	ret = pbr_object_add(ctx, PBR_MCAST);
	if (ret)
		return ret;
	member = kmalloc_obj(*member, GFP_KERNEL_ACCOUNT);
	if (!member) {
		pbr_object_remove(ctx, PBR_MCAST);
		return -ENOMEM;
	}
	*member = pbr_member_of(qp, gid);
	member->qp = qp;
	if (!pbr_member_insert(member)) {
		kfree(member);
		pbr_object_remove(ctx, PBR_MCAST);
	}
	return 0;
}

static int pbr_detach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid)
{
	struct pbr_qp *qp = to_pbr_qp(ib);
	struct pbr_member key = pbr_member_of(qp, gid);
	struct rb_node *node;

	spin_lock(&pbr_members_lock);
	node = rb_find(&key, &pbr_members, pbr_member_cmp_node);
	if (node)
		rb_erase(node, &pbr_members);
	spin_unlock(&pbr_members_lock);
	if (!node)
		return pbr_fail(ib->device, -EINVAL, "detach_mcast: qp %u is not a member of %pI6c",
				ib->qp_num, gid->raw);
	kfree(rb_entry(node, struct pbr_member, node));
	pbr_object_remove(pbr_buf_context(qp->buf), PBR_MCAST);
	return 0;
}

struct pbr_qp *pbr_mcast_next(const struct pbr_qp *from, const union ib_gid *gid, u32 after)
{
	struct pbr_member key = pbr_member_of(from, gid), *member;
	struct rb_node *node, *next = NULL;

	key.qpn = after;
	guard(spinlock)(&pbr_members_lock);
	for (node = pbr_members.rb_node; node;) {
		if (pbr_member_cmp(&key, rb_entry(node, struct pbr_member, node)) < 0) {
			next = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	for (; next; next = rb_next(next)) {
		member = rb_entry(next, struct pbr_member, node);
		if (member->net != key.net || memcmp(&member->gid, gid, sizeof(*gid)))
			break;
		/* Skip a queue pair that is being destroyed, or is not ready. */
		if (pbr_answers(member->qp) && pbr_qp_get(member->qp))
			return member->qp;
	}
	return NULL;
}

const struct ib_device_ops pbr_mcast_ops = {
	.attach_mcast = pbr_attach_mcast,
	.detach_mcast = pbr_detach_mcast,
};
