// SPDX-License-Identifier: GPL-2.0
/*
 * Events of buffers: a queue, and the worker that sends it to netlink's listeners.
 *
 * Any process may join the group of events, so unprivileged processes can delay a send. A
 * revocation holds its buffer's reservation lock, and maybe vfio-pci-core's memory_lock. It
 * therefore only queues a record of the event. A worker sends the records in order, without a lock.
 */
#include <linux/moduleparam.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "core.h"

/* Room for the attributes of every message: nine numbers and three names */
#define PEERBAR_MSG_SIZE 512

/* Set while no buffers exist. */
static const struct genl_family *peerbar_event_family;

/* ---- network namespaces ---- */

/**
 * struct peerbar_ns - a network namespace; does not keep the namespace alive
 * @users: references: the namespace, its buffers, their queued events, events.lost
 * @net: NULL once the namespace is being destroyed; under events.lock
 * @lost_node: in events.lost from a failure to queue an event until the sockets have been notified.
 *	Under events.lock, as the rest
 * @lost_first: number of the event queued before the first lost event
 * @lost_last: number of the event queued before the last lost event
 */
struct peerbar_ns {
	refcount_t users;
	struct net *net;
	struct list_head lost_node;
	u64 lost_first;
	u64 lost_last;
};

static unsigned int peerbar_ns_id;

struct peerbar_ns *peerbar_ns_of(struct net *net)
{
	return *(struct peerbar_ns **)net_generic(net, peerbar_ns_id);
}

/* The namespace of buffers that the current process creates. */
struct peerbar_ns *peerbar_ns_get_current(void)
{
	struct peerbar_ns *ns = peerbar_ns_of(current->nsproxy ? current->nsproxy->net_ns :
								 &init_net);

	refcount_inc(&ns->users);
	return ns;
}

void peerbar_ns_put(struct peerbar_ns *ns)
{
	if (ns && refcount_dec_and_test(&ns->users))
		kfree(ns);
}

/* ---- messages ---- */

struct peerbar_summary peerbar_summarize(struct peerbar_buffer *buf, enum peerbar_state state)
{
	return (struct peerbar_summary){
		.id = buf->id,
		.size = buf->dmabuf->size,
		.model = buf->info.model,
		.state = state,
		.memattr = READ_ONCE(buf->memattr),
		.nr_ranges = buf->info.nr_ranges,
		.exporter = module_name(buf->info.owner),
		.device = buf->info.dev ? dev_name(buf->info.dev) : NULL,
		.label = buf->label,
	};
}

int peerbar_put_summary(struct sk_buff *skb, const struct peerbar_summary *s)
{
	if (nla_put_u64_64bit(skb, PEERBAR_A_ID, s->id, PEERBAR_A_PAD) ||
	    nla_put_string(skb, PEERBAR_A_EXPORTER, s->exporter) ||
	    (s->device && nla_put_string(skb, PEERBAR_A_DEVICE, s->device)) ||
	    nla_put_string(skb, PEERBAR_A_NAME, s->label) ||
	    nla_put_u64_64bit(skb, PEERBAR_A_SIZE, s->size, PEERBAR_A_PAD) ||
	    nla_put_u32(skb, PEERBAR_A_MODEL, s->model) ||
	    nla_put_u32(skb, PEERBAR_A_STATE, s->state) ||
	    nla_put_u32(skb, PEERBAR_A_MEMATTR, s->memattr) ||
	    nla_put_u32(skb, PEERBAR_A_NR_RANGES, s->nr_ranges))
		return -EMSGSIZE;
	return 0;
}

/* ---- events ---- */

/**
 * struct peerbar_event - an event of a buffer, to be sent
 * @node: in events.queue
 * @nr: sequence number of queued events
 * @ns: the buffer's namespace, with a reference
 * @what: the buffer at the time of the event; its strings are in @text
 */
struct peerbar_event {
	struct list_head node;
	u64 nr;
	struct peerbar_ns *ns;
	enum peerbar_cmd cmd;
	struct peerbar_summary what;
	char text[];
};

static void peerbar_send_events(struct work_struct *work);

/* @lock is a leaf, taken under reservation locks */
static struct {
	spinlock_t lock; /* protects the rest, and struct peerbar_ns */
	struct list_head queue;
	unsigned int queued;
	u64 last_nr;
	struct list_head lost; /* by ascending lost_first */
	struct workqueue_struct *wq;
	struct work_struct work;
} events = {
	.lock = __SPIN_LOCK_UNLOCKED(events.lock),
	.queue = LIST_HEAD_INIT(events.queue),
	.lost = LIST_HEAD_INIT(events.lost),
	.work = __WORK_INITIALIZER(events.work, peerbar_send_events),
};

/* About 200 bytes each */
static unsigned int max_queued_events = 65536;
module_param(max_queued_events, uint, 0644);
MODULE_PARM_DESC(max_queued_events, "Maximum number of queued events, listeners get ENOBUFS beyond (default: 65536)");

static bool peerbar_has_listeners(struct peerbar_ns *ns)
{
	lockdep_assert_held(&events.lock);

	return ns->net && genl_has_listeners(peerbar_event_family, ns->net, 0);
}

/* Record that the listeners of a namespace missed an event. */
static void peerbar_record_loss(struct peerbar_ns *ns)
{
	lockdep_assert_held(&events.lock);

	ns->lost_last = events.last_nr;
	if (!list_empty(&ns->lost_node))
		return;
	ns->lost_first = events.last_nr;
	refcount_inc(&ns->users);
	list_add_tail(&ns->lost_node, &events.lost);
}

static const char *peerbar_copy_text(char **at, const char *text, size_t size)
{
	char *copy = *at;

	if (!text)
		return NULL;
	strscpy(copy, text, size);
	*at += size;
	return copy;
}

/* Don't wait for memory: the caller holds locks that a revocation needs. */
static struct peerbar_event *peerbar_event_alloc(struct peerbar_buffer *buf, enum peerbar_cmd cmd,
						 enum peerbar_state state)
{
	struct peerbar_summary what = peerbar_summarize(buf, state);
	size_t exporter = strlen(what.exporter) + 1,
	       device = what.device ? strlen(what.device) + 1 : 0;
	size_t label = strlen(what.label) + 1;
	struct peerbar_event *event;
	char *at;

	event = kmalloc(sizeof(*event) + exporter + device + label, GFP_NOWAIT | __GFP_NOWARN);
	if (!event)
		return NULL;
	at = event->text;
	event->cmd = cmd;
	event->what = what;
	event->what.exporter = peerbar_copy_text(&at, what.exporter, exporter);
	event->what.device = peerbar_copy_text(&at, what.device, device);
	event->what.label = peerbar_copy_text(&at, what.label, label);
	event->ns = buf->ns;
	refcount_inc(&event->ns->users);
	return event;
}

static void peerbar_event_free(struct peerbar_event *event)
{
	peerbar_ns_put(event->ns);
	kfree(event);
}

/**
 * peerbar_event() - queue an event of a buffer for its listeners
 * @buf: reservation lock held, except when the buffer is created or released
 * @state: what the event announces. Another task may set @buf DEAD meanwhile, without a lock
 *
 * Events of one buffer are sent in the order of the calls. So are those of several buffers if locks
 * order the calls. Never sleeps. Listeners of an event that cannot be queued get ENOBUFS.
 */
void peerbar_event(struct peerbar_buffer *buf, enum peerbar_cmd cmd, enum peerbar_state state)
{
	struct peerbar_ns *all = peerbar_ns_of(&init_net);
	struct peerbar_event *event;

	scoped_guard(spinlock, &events.lock)
		if (!peerbar_has_listeners(buf->ns) && !peerbar_has_listeners(all))
			return;
	event = peerbar_event_alloc(buf, cmd, state);
	scoped_guard(spinlock, &events.lock) {
		if (event && events.queued < READ_ONCE(max_queued_events)) {
			events.queued++;
			event->nr = ++events.last_nr;
			list_add_tail(&event->node, &events.queue);
			event = NULL;
		} else {
			peerbar_record_loss(buf->ns);
			peerbar_record_loss(all);
		}
	}
	if (event)
		peerbar_event_free(event);
	queue_work(events.wq, &events.work);
}

/* The network namespace, with a reference; NULL if it is gone. */
static struct net *peerbar_ns_get_net(struct peerbar_ns *ns)
{
	guard(spinlock)(&events.lock);
	return ns->net ? maybe_get_net(ns->net) : NULL;
}

static void peerbar_send_lost(struct peerbar_ns *ns)
{
	struct net *net = peerbar_ns_get_net(ns);

	if (!net)
		return;
	genl_set_err(peerbar_event_family, net, 0, 0, -ENOBUFS);
	put_net(net);
}

static void peerbar_send_to(struct peerbar_ns *ns, const struct peerbar_event *event)
{
	struct net *net = peerbar_ns_get_net(ns);
	struct sk_buff *skb;
	void *msg;

	if (!net)
		return;
	if (!genl_has_listeners(peerbar_event_family, net, 0))
		goto put;
	skb = genlmsg_new(PEERBAR_MSG_SIZE, GFP_KERNEL);
	if (!skb)
		goto lost;
	msg = genlmsg_put(skb, 0, 0, peerbar_event_family, 0, event->cmd);
	if (!msg || peerbar_put_summary(skb, &event->what)) {
		nlmsg_free(skb);
		goto lost;
	}
	genlmsg_end(skb, msg);
	genlmsg_multicast_netns(peerbar_event_family, net, skb, 0, 0, GFP_KERNEL);
put:
	put_net(net);
	return;

lost:
	genl_set_err(peerbar_event_family, net, 0, 0, -ENOBUFS);
	put_net(net);
}

static void peerbar_send(const struct peerbar_event *event)
{
	struct peerbar_ns *all = peerbar_ns_of(&init_net);

	peerbar_send_to(event->ns, event);
	if (event->ns != all)
		peerbar_send_to(all, event);
}

/*
 * Take the next event off the queue, or a namespace whose listeners missed one; return false if
 * there is neither. Report a loss after the events queued before it: listeners then query the
 * buffers, and no older event may follow what they find.
 */
static bool peerbar_next_to_send(struct peerbar_event **event, struct peerbar_ns **lost)
{
	guard(spinlock)(&events.lock);
	*event = list_first_entry_or_null(&events.queue, struct peerbar_event, node);
	*lost = list_first_entry_or_null(&events.lost, struct peerbar_ns, lost_node);
	if (*lost && (!*event || (*event)->nr > (*lost)->lost_first)) {
		*event = NULL;
		list_del_init(&(*lost)->lost_node);
		/* More events were lost meanwhile, after events that are still queued. */
		if ((*lost)->lost_last > (*lost)->lost_first) {
			(*lost)->lost_first = (*lost)->lost_last;
			refcount_inc(&(*lost)->users);
			list_add_tail(&(*lost)->lost_node, &events.lost);
		}
		return true;
	}
	*lost = NULL;
	if (!*event)
		return false;
	list_del(&(*event)->node);
	events.queued--;
	return true;
}

static void peerbar_send_events(struct work_struct *work)
{
	struct peerbar_event *event;
	struct peerbar_ns *lost;

	while (peerbar_next_to_send(&event, &lost)) {
		if (event) {
			peerbar_send(event);
			peerbar_event_free(event);
		} else {
			peerbar_send_lost(lost);
			peerbar_ns_put(lost);
		}
		cond_resched();
	}
}

/* ---- loading and unloading ---- */

static int __net_init peerbar_ns_init(struct net *net)
{
	struct peerbar_ns *ns = kzalloc_obj(*ns, GFP_KERNEL_ACCOUNT);

	if (!ns)
		return -ENOMEM;
	refcount_set(&ns->users, 1);
	INIT_LIST_HEAD(&ns->lost_node);
	ns->net = net;
	*(struct peerbar_ns **)net_generic(net, peerbar_ns_id) = ns;
	return 0;
}

static void __net_exit peerbar_ns_exit(struct net *net)
{
	struct peerbar_ns *ns = peerbar_ns_of(net);

	scoped_guard(spinlock, &events.lock)
		ns->net = NULL;
	peerbar_ns_put(ns);
}

static struct pernet_operations peerbar_ns_ops = {
	.init = peerbar_ns_init,
	.exit = peerbar_ns_exit,
	.id = &peerbar_ns_id,
	.size = sizeof(struct peerbar_ns *),
};

int __init peerbar_events_init(const struct genl_family *family)
{
	int ret;

	peerbar_event_family = family;
	events.wq = alloc_workqueue("peerbar_events", WQ_UNBOUND, 0);
	if (!events.wq)
		return -ENOMEM;
	ret = register_pernet_subsys(&peerbar_ns_ops);
	if (ret)
		destroy_workqueue(events.wq);
	return ret;
}

/* Send the queued events. No buffers exist any more, so none follow. */
void peerbar_events_flush(void)
{
	destroy_workqueue(events.wq);
}

void peerbar_events_exit(void)
{
	unregister_pernet_subsys(&peerbar_ns_ops);
}
