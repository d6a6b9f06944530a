// SPDX-License-Identifier: GPL-2.0
/*
 * Multicast: the queue pairs of each group. A message reaches the members on all peerbar devices of
 * one network namespace directly, and those of others as a packet.
 */
#include <linux/igmp.h>
#include <linux/inetdevice.h>
#include <linux/rbtree.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/addrconf.h>

#include "wire.h"

/* A queue pair in a group; sorted by network namespace, group, and queue pair */
struct pbr_member {
	struct rb_node node;
	const struct net *net;
	union ib_gid gid;
	u32 qpn;
	struct pbr_qp *qp;
};

/* Charges the user for what the network stack allocates for a group, and does not charge. */
#define PBR_GROUP_CHARGE \
	(MAX(sizeof(struct ip_mc_list), sizeof(struct ifmcaddr6)) + sizeof(struct netdev_hw_addr))

static struct rb_root pbr_members = RB_ROOT;
static DEFINE_SPINLOCK(pbr_members_lock); /* protects the tree; softirqs off, a leaf */

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

	guard(spinlock_bh)(&pbr_members_lock);
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

/*
 * Let the network device receive the group's packets, or no longer. The stack counts how often it
 * was asked to. A device without an address of the group's family has members on this host only.
 * rtnl_lock() is not killable; those who hold it wait for no queue pair.
 */
static void pbr_member_join(const struct pbr_member *member, bool join)
{
	const struct in6_addr *group = (const struct in6_addr *)&member->gid;
	struct pbr_device *dev = member->qp->dev;
	struct in_device *in_dev;
	struct net_device *ndev;

	if (!pbr_wire_is_up(dev))
		return;
	/* The memberships of a device that is being unregistered end with it. */
	ndev = ib_device_get_netdev(&dev->ib, 1);
	if (!ndev)
		return;
	rtnl_lock();
	if (!ipv6_addr_v4mapped(group)) {
		if (!join)
			ipv6_dev_mc_dec(ndev, group);
		else if (ipv6_dev_mc_inc(ndev, group))
			ibdev_dbg(&dev->ib, "attach_mcast: %s cannot join %pI6c\n", ndev->name,
				  group);
	} else {
		in_dev = __in_dev_get_rtnl(ndev);
		if (in_dev && join)
			ip_mc_inc_group(in_dev, group->s6_addr32[3]);
		else if (in_dev)
			ip_mc_dec_group(in_dev, group->s6_addr32[3]);
	}
	rtnl_unlock();
	dev_put(ndev);
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
	member = kmalloc(sizeof(*member) + PBR_GROUP_CHARGE, GFP_KERNEL_ACCOUNT);
	if (!member) {
		pbr_object_remove(ctx, PBR_MCAST);
		return -ENOMEM;
	}
	*member = pbr_member_of(qp, gid);
	member->qp = qp;
	pbr_member_join(member, true);
	if (!pbr_member_insert(member)) {
		pbr_member_join(member, false);
		kfree(member);
		pbr_object_remove(ctx, PBR_MCAST);
	}
	return 0;
}

static int pbr_detach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid)
{
	struct pbr_qp *qp = to_pbr_qp(ib);
	struct pbr_member key = pbr_member_of(qp, gid), *member;
	struct rb_node *node;

	spin_lock_bh(&pbr_members_lock);
	node = rb_find(&key, &pbr_members, pbr_member_cmp_node);
	if (node)
		rb_erase(node, &pbr_members);
	spin_unlock_bh(&pbr_members_lock);
	if (!node)
		return pbr_fail(ib->device, -EINVAL, "detach_mcast: qp %u is not a member of %pI6c",
				ib->qp_num, gid->raw);
	member = rb_entry(node, struct pbr_member, node);
	pbr_member_join(member, false);
	kfree(member);
	pbr_object_remove(pbr_buf_context(qp->buf), PBR_MCAST);
	return 0;
}

struct pbr_qp *pbr_mcast_next(const struct net *net, const struct pbr_device *dev,
			      const union ib_gid *gid, u32 *after, unsigned int *budget)
{
	struct pbr_member key = { .net = net, .gid = *gid, .qpn = *after }, *member;
	struct rb_node *node, *next = NULL;

	guard(spinlock_bh)(&pbr_members_lock);
	for (node = pbr_members.rb_node; node;) {
		if (pbr_member_cmp(&key, rb_entry(node, struct pbr_member, node)) < 0) {
			next = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	for (; next && *budget; next = rb_next(next)) {
		member = rb_entry(next, struct pbr_member, node);
		if (member->net != key.net || memcmp(&member->gid, gid, sizeof(*gid)))
			break;
		(*budget)--;
		*after = member->qpn;
		if (dev && member->qp->dev != dev)
			continue;
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
