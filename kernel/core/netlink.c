// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family: lists buffers. events.c sends their events.
 *
 * A socket sees the buffers of its network namespace; a socket of the initial namespace sees all.
 * Physical addresses, importers and creators are for CAP_SYS_ADMIN only. Events go to all
 * listeners, so they never contain them.
 *
 * No request waits for the reservation lock of a buffer, which a revoke, or an importer, may hold
 * for as long as it wants. Generic netlink calls the functions of requests, and the first one of a
 * dump, with cb_lock held for reading, also for a family with parallel_ops: a task that registers
 * any family waits for it, and then all requests of the machine wait for that task.
 */
#include <linux/capability.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "core.h"

static const struct nla_policy peerbar_policy[] = {
	[PEERBAR_A_ID] = { .type = NLA_U64 },
};

static struct genl_family peerbar_family;

/* Put ranges and importers; return false if some don't fit. The message has their totals. */
static bool peerbar_put_privileged(struct sk_buff *skb, struct peerbar_buffer *buf)
{
	struct peerbar_attachment *a;
	struct nlattr *nest;
	unsigned int i;

	lockdep_assert_held(&buf->importers_lock);

	for (i = 0; i < buf->info.nr_ranges; i++) {
		nest = nla_nest_start(skb, PEERBAR_A_RANGE);
		if (!nest)
			return false;
		if (nla_put_u64_64bit(skb, PEERBAR_A_RANGE_START, buf->ranges[i].paddr,
				      PEERBAR_A_RANGE_PAD) ||
		    nla_put_u64_64bit(skb, PEERBAR_A_RANGE_LENGTH, buf->ranges[i].len,
				      PEERBAR_A_RANGE_PAD)) {
			nla_nest_cancel(skb, nest);
			return false;
		}
		nla_nest_end(skb, nest);
	}
	list_for_each_entry(a, &buf->importers, node)
		if (nla_put_string(skb, PEERBAR_A_IMPORTER, dev_name(a->attach->dev)))
			return false;
	return true;
}

/* Put what the exporter declares; return false if it does not fit. */
static bool peerbar_put_facts(struct sk_buff *skb, struct peerbar_buffer *buf)
{
	struct peerbar_facts facts = {};

	peerbar_buffer_describe_locked(buf, &facts);
	return !nla_put_u32(skb, PEERBAR_A_CAN_PIN, facts.can_pin) &&
		!nla_put_u32(skb, PEERBAR_A_CAN_REVOKE, facts.can_revoke) &&
		!nla_put_u32(skb, PEERBAR_A_PLACE, facts.place) &&
		(facts.place != PEERBAR_PLACE_BAR ||
		 (!nla_put_u32(skb, PEERBAR_A_BAR, facts.bar) &&
		  !nla_put_u64_64bit(skb, PEERBAR_A_BAR_OFFSET, facts.bar_offset, PEERBAR_A_PAD)));
}

static int peerbar_put_buffer(struct sk_buff *skb, struct peerbar_buffer *buf, u32 portid, u32 seq,
			      int flags, bool privileged)
{
	struct peerbar_summary summary = peerbar_summarize(buf, peerbar_buffer_try_settle(buf));
	struct peerbar_attachment *a;
	bool others = skb->len, fits;
	u32 importers = 0;
	void *msg;

	msg = genlmsg_put(skb, portid, seq, &peerbar_family, flags, PEERBAR_CMD_BUFFER_GET);
	if (!msg)
		return -EMSGSIZE;
	if (peerbar_put_summary(skb, &summary) ||
	    nla_put_u32(skb, PEERBAR_A_NR_MMAPS, atomic_read(&buf->mmaps)) ||
	    (privileged && nla_put_u32(skb, PEERBAR_A_CREATOR, buf->creator)))
		goto cancel;
	mutex_lock(&buf->importers_lock);
	list_for_each_entry(a, &buf->importers, node)
		importers++;
	fits = !nla_put_u32(skb, PEERBAR_A_NR_IMPORTERS, importers) && peerbar_put_facts(skb, buf);
	if (fits && privileged)
		/* What does not fit beside others may fit alone; truncate what does not. */
		fits = peerbar_put_privileged(skb, buf) || !others;
	mutex_unlock(&buf->importers_lock);
	if (!fits)
		goto cancel;
	genlmsg_end(skb, msg);
	return 0;

cancel:
	genlmsg_cancel(skb, msg);
	return -EMSGSIZE;
}

static bool peerbar_is_visible(struct net *net, struct peerbar_buffer *buf)
{
	return net_eq(net, &init_net) || peerbar_ns_of(net) == buf->ns;
}

/* More than fit in a message */
#define PEERBAR_MSG_IMPORTERS 1024

static bool peerbar_put_importer(struct sk_buff *skb, const struct peerbar_importer *importer)
{
	struct nlattr *nest = nla_nest_start(skb, PEERBAR_A_ATTACHMENT);

	if (!nest)
		return false;
	if (nla_put_u64_64bit(skb, PEERBAR_A_ATTACHMENT_ID, importer->id,
			      PEERBAR_A_ATTACHMENT_PAD) ||
	    nla_put_string(skb, PEERBAR_A_ATTACHMENT_DEVICE, importer->device) ||
	    nla_put_string(skb, PEERBAR_A_ATTACHMENT_DRIVER, importer->driver) ||
	    nla_put_u32(skb, PEERBAR_A_ATTACHMENT_FLAGS, importer->flags) ||
	    nla_put_u32(skb, PEERBAR_A_ATTACHMENT_MAPS, importer->maps) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_ATTACHMENT_BYTES, importer->bytes,
			      PEERBAR_A_ATTACHMENT_PAD) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_ATTACHMENT_ATTACHED_NS, importer->attached_ns,
			      PEERBAR_A_ATTACHMENT_PAD) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_ATTACHMENT_MAPPED_NS, importer->mapped_ns,
			      PEERBAR_A_ATTACHMENT_PAD)) {
		nla_nest_cancel(skb, nest);
		return false;
	}
	nla_nest_end(skb, nest);
	return true;
}

static bool peerbar_put_fence(struct sk_buff *skb, const struct peerbar_fence *fence)
{
	struct nlattr *nest = nla_nest_start(skb, PEERBAR_A_FENCE);

	if (!nest)
		return false;
	if (nla_put_string(skb, PEERBAR_A_FENCE_DRIVER, fence->driver) ||
	    nla_put_string(skb, PEERBAR_A_FENCE_TIMELINE, fence->timeline) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_FENCE_CONTEXT, fence->context, PEERBAR_A_FENCE_PAD) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_FENCE_SEQNO, fence->seqno, PEERBAR_A_FENCE_PAD)) {
		nla_nest_cancel(skb, nest);
		return false;
	}
	nla_nest_end(skb, nest);
	return true;
}

/* Put the elements; return false if some don't fit. The message has their totals. */
static bool peerbar_put_elements(struct sk_buff *skb, const struct peerbar_list *list)
{
	u32 i;

	for (i = 0; i < list->filled_importers; i++)
		if (!peerbar_put_importer(skb, &list->importers[i]))
			return false;
	for (i = 0; i < list->filled_fences; i++)
		if (!peerbar_put_fence(skb, &list->fences[i]))
			return false;
	return list->filled_importers == list->nr_importers &&
		list->filled_fences == list->nr_fences;
}

static int peerbar_put_list(struct sk_buff *skb, struct peerbar_buffer *buf,
			    const struct peerbar_list *list, u32 portid, u32 seq, int flags)
{
	struct peerbar_summary summary = peerbar_summarize(buf, list->state);
	bool others = skb->len;
	void *msg;

	msg = genlmsg_put(skb, portid, seq, &peerbar_family, flags, PEERBAR_CMD_IMPORTERS_GET);
	if (!msg)
		return -EMSGSIZE;
	if (peerbar_put_summary(skb, &summary) ||
	    nla_put_u32(skb, PEERBAR_A_NR_IMPORTERS, list->nr_importers) ||
	    nla_put_u32(skb, PEERBAR_A_NR_FENCES, list->nr_fences) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_REVOKED_NS, list->revoked_ns, PEERBAR_A_PAD) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_NOW_NS, list->now_ns, PEERBAR_A_PAD))
		goto cancel;
	/* What does not fit beside others may fit alone; truncate what does not. */
	if (!peerbar_put_elements(skb, list) && others)
		goto cancel;
	genlmsg_end(skb, msg);
	return 0;

cancel:
	genlmsg_cancel(skb, msg);
	return -EMSGSIZE;
}

static int peerbar_put_importers(struct sk_buff *skb, struct peerbar_buffer *buf, u32 portid,
				 u32 seq, int flags, bool privileged)
{
	struct peerbar_list list;
	int ret;

	/* A dump goes on with the rights that its reader has now. */
	if (!privileged)
		return -EPERM;
	ret = peerbar_list_importers(buf, PEERBAR_MSG_IMPORTERS, PEERBAR_MSG_IMPORTERS, &list);
	if (!ret)
		ret = peerbar_put_list(skb, buf, &list, portid, seq, flags);
	peerbar_list_free(&list);
	return ret;
}

/* A function that puts the message of one buffer */
typedef int (*peerbar_put_fn)(struct sk_buff *skb, struct peerbar_buffer *buf, u32 portid, u32 seq,
			      int flags, bool privileged);

static int peerbar_reply(struct sk_buff *skb, struct genl_info *info, peerbar_put_fn put)
{
	bool privileged = netlink_capable(skb, CAP_SYS_ADMIN);
	struct peerbar_buffer *buf;
	struct sk_buff *reply;
	int ret;

	if (GENL_REQ_ATTR_CHECK(info, PEERBAR_A_ID))
		return -EINVAL;
	buf = peerbar_buffer_find(nla_get_u64(info->attrs[PEERBAR_A_ID]));
	if (buf && !peerbar_is_visible(genl_info_net(info), buf)) {
		peerbar_buffer_put(buf);
		buf = NULL;
	}
	if (!buf) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[PEERBAR_A_ID],
				    "no buffer has this id");
		return -ENOENT;
	}
	reply = nlmsg_new(privileged ? SKB_WITH_OVERHEAD(32768) - NLMSG_HDRLEN : NLMSG_DEFAULT_SIZE,
			  GFP_KERNEL);
	if (!reply) {
		ret = -ENOMEM;
		goto put_buffer;
	}
	ret = put(reply, buf, info->snd_portid, info->snd_seq, 0, privileged);
	if (ret)
		nlmsg_free(reply);
	else
		ret = genlmsg_reply(reply, info);
put_buffer:
	/* Generic netlink's lock is held, and a release may wait. */
	peerbar_buffer_put_later(buf);
	return ret;
}

static int peerbar_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	return peerbar_reply(skb, info, peerbar_put_buffer);
}

static int peerbar_importers_doit(struct sk_buff *skb, struct genl_info *info)
{
	if (!netlink_capable(skb, CAP_SYS_ADMIN)) {
		NL_SET_ERR_MSG(info->extack, "importers need CAP_SYS_ADMIN");
		return -EPERM;
	}
	return peerbar_reply(skb, info, peerbar_put_importers);
}

static int peerbar_get_start(struct netlink_callback *cb)
{
	/* Room for the ranges of at least one buffer. */
	cb->min_dump_alloc = SKB_WITH_OVERHEAD(32768);
	return 0;
}

static int peerbar_importers_start(struct netlink_callback *cb)
{
	if (!netlink_capable(cb->skb, CAP_SYS_ADMIN)) {
		NL_SET_ERR_MSG(cb->extack, "importers need CAP_SYS_ADMIN");
		return -EPERM;
	}
	return peerbar_get_start(cb);
}

static int peerbar_dump(struct sk_buff *skb, struct netlink_callback *cb, peerbar_put_fn put)
{
	bool privileged = netlink_capable(cb->skb, CAP_SYS_ADMIN);
	struct peerbar_buffer *buf;
	int ret = 0;

	while ((buf = peerbar_buffer_next(cb->args[0]))) {
		if (peerbar_is_visible(sock_net(skb->sk), buf))
			ret = put(skb, buf, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				  NLM_F_MULTI, privileged);
		if (!ret)
			cb->args[0] = buf->id;
		peerbar_buffer_put_later(buf);
		if (ret)
			break;
	}
	/* The next message begins with the buffer that did not fit. */
	return ret && !skb->len ? ret : skb->len;
}

static int peerbar_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	return peerbar_dump(skb, cb, peerbar_put_buffer);
}

static int peerbar_importers_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	return peerbar_dump(skb, cb, peerbar_put_importers);
}

static const struct genl_split_ops peerbar_ops[] = {
	{
		.cmd = PEERBAR_CMD_BUFFER_GET,
		.doit = peerbar_get_doit,
		.policy = peerbar_policy,
		.maxattr = PEERBAR_A_ID,
		.flags = GENL_CMD_CAP_DO,
	},
	{
		.cmd = PEERBAR_CMD_BUFFER_GET,
		.start = peerbar_get_start,
		.dumpit = peerbar_get_dumpit,
		.flags = GENL_CMD_CAP_DUMP,
	},
	{
		.cmd = PEERBAR_CMD_IMPORTERS_GET,
		.doit = peerbar_importers_doit,
		.policy = peerbar_policy,
		.maxattr = PEERBAR_A_ID,
		.flags = GENL_CMD_CAP_DO,
	},
	{
		.cmd = PEERBAR_CMD_IMPORTERS_GET,
		.start = peerbar_importers_start,
		.dumpit = peerbar_importers_dumpit,
		.flags = GENL_CMD_CAP_DUMP,
	},
};

static const struct genl_multicast_group peerbar_groups[] = {
	{ .name = PEERBAR_GENL_EVENTS },
};

static struct genl_family peerbar_family __ro_after_init = {
	.name = PEERBAR_GENL_NAME,
	.version = PEERBAR_GENL_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.split_ops = peerbar_ops,
	.n_split_ops = ARRAY_SIZE(peerbar_ops),
	.mcgrps = peerbar_groups,
	.n_mcgrps = ARRAY_SIZE(peerbar_groups),
};

int __init peerbar_netlink_init(void)
{
	int ret;

	ret = peerbar_events_init(&peerbar_family);
	if (ret)
		return ret;
	ret = genl_register_family(&peerbar_family);
	if (ret)
		goto err_events;
	return 0;

err_events:
	peerbar_events_exit();
	peerbar_events_flush();
	return ret;
}

/* No buffers exist any more: the modules of their exporters depend on this one. */
void peerbar_netlink_exit(void)
{
	peerbar_events_flush();
	genl_unregister_family(&peerbar_family);
	peerbar_events_exit();
}
