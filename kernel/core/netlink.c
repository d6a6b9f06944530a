// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family: which buffers there are, and what happens to them.
 *
 * A socket sees the buffers of its network namespace, one of the initial namespace sees all. What tells where memory is, or who
 * uses it, is for CAP_SYS_ADMIN, and is never in an event, since those go to everybody who listens.
 */
#include <linux/capability.h>
#include <linux/dma-resv.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "core.h"

/* room for what is in every message: nine numbers and three names */
#define PEERBAR_MSG_SIZE	512

static const struct nla_policy peerbar_policy[] = {
	[PEERBAR_A_ID] = { .type = NLA_U64 },
};

static struct genl_family peerbar_family;

static int peerbar_put_common(struct sk_buff *skb, struct peerbar_buffer *buf, enum peerbar_state state)
{
	if (nla_put_u64_64bit(skb, PEERBAR_A_ID, buf->id, PEERBAR_A_PAD) ||
	    nla_put_string(skb, PEERBAR_A_EXPORTER, module_name(buf->info.owner)) ||
	    (buf->info.dev && nla_put_string(skb, PEERBAR_A_DEVICE, dev_name(buf->info.dev))) ||
	    nla_put_string(skb, PEERBAR_A_NAME, buf->label) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_SIZE, buf->dmabuf->size, PEERBAR_A_PAD) ||
	    nla_put_u32(skb, PEERBAR_A_MODEL, buf->info.model) || nla_put_u32(skb, PEERBAR_A_STATE, state) ||
	    nla_put_u32(skb, PEERBAR_A_MEMATTR, READ_ONCE(buf->memattr)) ||
	    nla_put_u32(skb, PEERBAR_A_NR_RANGES, buf->info.nr_ranges))
		return -EMSGSIZE;
	return 0;
}

/* As many of the ranges and importers as there is room for; false if that is not all, which the numbers above tell. */
static bool peerbar_put_privileged(struct sk_buff *skb, struct peerbar_buffer *buf)
{
	struct dma_buf_attachment *attach;
	struct nlattr *nest;
	unsigned int i;

	dma_resv_assert_held(buf->dmabuf->resv);

	for (i = 0; i < buf->info.nr_ranges; i++) {
		nest = nla_nest_start(skb, PEERBAR_A_RANGE);
		if (!nest)
			return false;
		if (nla_put_u64_64bit(skb, PEERBAR_A_RANGE_START, buf->ranges[i].paddr, PEERBAR_A_RANGE_PAD) ||
		    nla_put_u64_64bit(skb, PEERBAR_A_RANGE_LENGTH, buf->ranges[i].len, PEERBAR_A_RANGE_PAD)) {
			nla_nest_cancel(skb, nest);
			return false;
		}
		nla_nest_end(skb, nest);
	}
	list_for_each_entry(attach, &buf->dmabuf->attachments, node)
		if (nla_put_string(skb, PEERBAR_A_IMPORTER, dev_name(attach->dev)))
			return false;
	return true;
}

static int peerbar_put_buffer(struct sk_buff *skb, struct peerbar_buffer *buf, u32 portid, u32 seq, int flags, bool privileged)
{
	enum peerbar_state state = peerbar_buffer_settle(buf);
	struct dma_buf_attachment *attach;
	bool others = skb->len, fits;
	u32 importers = 0;
	void *msg;

	msg = genlmsg_put(skb, portid, seq, &peerbar_family, flags, PEERBAR_CMD_BUFFER_GET);
	if (!msg)
		return -EMSGSIZE;
	if (peerbar_put_common(skb, buf, state) ||
	    nla_put_u32(skb, PEERBAR_A_NR_MMAPS, atomic_read(&buf->mmaps)) ||
	    (privileged && nla_put_u32(skb, PEERBAR_A_CREATOR, buf->creator)))
		goto cancel;
	if (dma_resv_lock_interruptible(buf->dmabuf->resv, NULL)) {
		genlmsg_cancel(skb, msg);
		return -EINTR;
	}
	list_for_each_entry(attach, &buf->dmabuf->attachments, node)
		importers++;
	fits = !nla_put_u32(skb, PEERBAR_A_NR_IMPORTERS, importers);
	if (fits && privileged)
		/* what does not fit beside others may do so in a message of its own; what does not fit there is cut */
		fits = peerbar_put_privileged(skb, buf) || !others;
	dma_resv_unlock(buf->dmabuf->resv);
	if (!fits)
		goto cancel;
	genlmsg_end(skb, msg);
	return 0;

cancel:
	genlmsg_cancel(skb, msg);
	return -EMSGSIZE;
}

static bool peerbar_visible(struct net *net, struct peerbar_buffer *buf)
{
	return net_eq(net, &init_net) || net_eq(net, buf->net);
}

static int peerbar_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	bool privileged = netlink_capable(skb, CAP_SYS_ADMIN);
	struct peerbar_buffer *buf;
	struct sk_buff *reply;
	int ret;

	if (GENL_REQ_ATTR_CHECK(info, PEERBAR_A_ID))
		return -EINVAL;
	buf = peerbar_buffer_find(nla_get_u64(info->attrs[PEERBAR_A_ID]));
	if (buf && !peerbar_visible(genl_info_net(info), buf)) {
		peerbar_buffer_put(buf);
		buf = NULL;
	}
	if (!buf) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[PEERBAR_A_ID], "there is no buffer of this number");
		return -ENOENT;
	}
	reply = nlmsg_new(privileged ? SKB_WITH_OVERHEAD(32768) - NLMSG_HDRLEN : NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!reply) {
		ret = -ENOMEM;
		goto put;
	}
	ret = peerbar_put_buffer(reply, buf, info->snd_portid, info->snd_seq, 0, privileged);
	if (ret)
		nlmsg_free(reply);
	else
		ret = genlmsg_reply(reply, info);
put:
	peerbar_buffer_put(buf);
	return ret;
}

static int peerbar_get_start(struct netlink_callback *cb)
{
	/* for the ranges of at least one buffer */
	cb->min_dump_alloc = SKB_WITH_OVERHEAD(32768);
	return 0;
}

static int peerbar_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	bool privileged = netlink_capable(cb->skb, CAP_SYS_ADMIN);
	struct peerbar_buffer *buf;
	int ret = 0;

	while ((buf = peerbar_buffer_next(cb->args[0]))) {
		if (peerbar_visible(sock_net(skb->sk), buf))
			ret = peerbar_put_buffer(skb, buf, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, NLM_F_MULTI,
						 privileged);
		if (!ret)
			cb->args[0] = buf->id;
		peerbar_buffer_put(buf);
		if (ret)
			break;
	}
	/* what did not fit comes in the next message */
	return ret && !skb->len ? ret : skb->len;
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

static void peerbar_event_to(struct net *net, struct peerbar_buffer *buf, enum peerbar_cmd cmd)
{
	struct sk_buff *skb;
	void *msg;

	if (!genl_has_listeners(&peerbar_family, net, 0))
		return;
	skb = genlmsg_new(PEERBAR_MSG_SIZE, GFP_KERNEL);
	if (!skb)
		goto lost;
	msg = genlmsg_put(skb, 0, 0, &peerbar_family, 0, cmd);
	if (!msg || peerbar_put_common(skb, buf, buf->state)) {
		nlmsg_free(skb);
		goto lost;
	}
	genlmsg_end(skb, msg);
	genlmsg_multicast_netns(&peerbar_family, net, skb, 0, 0, GFP_KERNEL);
	return;

lost:
	/* whoever listens is told that it missed something */
	genl_set_err(&peerbar_family, net, 0, 0, -ENOBUFS);
}

void peerbar_event(struct peerbar_buffer *buf, enum peerbar_cmd cmd)
{
	peerbar_event_to(buf->net, buf, cmd);
	if (!net_eq(buf->net, &init_net))
		peerbar_event_to(&init_net, buf, cmd);
}

int __init peerbar_netlink_init(void)
{
	return genl_register_family(&peerbar_family);
}

void peerbar_netlink_exit(void)
{
	genl_unregister_family(&peerbar_family);
}
