// SPDX-License-Identifier: GPL-2.0
/*
 * The importers of a buffer: what each has mapped, and which of them hold up a revoke.
 *
 * The reservation lock may be held for long by the very revoke that a user asks about, for example
 * by vfio-pci-core while it waits for fences. So a list of the importers has a lock of its own, and
 * no function here that reports to user space takes the reservation lock. netlink.c, which reads
 * the list, only tries it.
 */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>

#include "core.h"
#include "trace.h"

void peerbar_importers_init(struct peerbar_buffer *buf)
{
	mutex_init(&buf->importers_lock);
	INIT_LIST_HEAD(&buf->importers);
}

void peerbar_importers_destroy(struct peerbar_buffer *buf)
{
	mutex_destroy(&buf->importers_lock);
}

/* ---- what importers do ---- */

int peerbar_importer_alloc(struct dma_buf_attachment *attach)
{
	struct peerbar_attachment *a = kzalloc_obj(*a, GFP_KERNEL_ACCOUNT);

	if (!a)
		return -ENOMEM;
	INIT_LIST_HEAD(&a->node);
	a->attach = attach;
	a->attached_ns = ktime_get_boottime_ns();
	/* Copy: the driver may be unbound and unloaded before the importer detaches. */
	strscpy(a->driver, dev_driver_string(attach->dev));
	attach->priv = a;
	return 0;
}

void peerbar_importer_add(struct peerbar_buffer *buf, struct dma_buf_attachment *attach)
{
	struct peerbar_attachment *a = peerbar_attachment_of(attach);

	guard(mutex)(&buf->importers_lock);
	a->id = ++buf->last_importer_id;
	list_add_tail(&a->node, &buf->importers);
}

void peerbar_importer_free(struct peerbar_buffer *buf, struct dma_buf_attachment *attach)
{
	struct peerbar_attachment *a = peerbar_attachment_of(attach);

	scoped_guard(mutex, &buf->importers_lock)
		list_del(&a->node);
	attach->priv = NULL;
	kfree(a);
}

static void peerbar_note_access(struct peerbar_attachment *a)
{
	if (!a->maps && !a->addresses)
		WRITE_ONCE(a->mapped_ns, ktime_get_boottime_ns());
}

void peerbar_importer_mapped(struct dma_buf_attachment *attach)
{
	struct peerbar_attachment *a = peerbar_attachment_of(attach);

	dma_resv_assert_held(attach->dmabuf->resv);

	peerbar_note_access(a);
	WRITE_ONCE(a->maps, a->maps + 1);
}

void peerbar_importer_unmapped(struct dma_buf_attachment *attach)
{
	struct peerbar_attachment *a = peerbar_attachment_of(attach);
	struct peerbar_buffer *buf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	WRITE_ONCE(a->maps, a->maps - 1);
	if (buf->dma_maps > 1 || READ_ONCE(buf->state) == PEERBAR_STATE_LIVE)
		return;
	/* A revoke may wait for this importer, the last one: the task that waits reports it. */
	guard(mutex)(&buf->importers_lock);
	strscpy(buf->last_unmapped, dev_name(attach->dev));
}

void peerbar_importer_got_addresses(struct dma_buf_attachment *attach)
{
	struct peerbar_attachment *a = peerbar_attachment_of(attach);

	dma_resv_assert_held(attach->dmabuf->resv);

	if (a->addresses)
		return;
	peerbar_note_access(a);
	WRITE_ONCE(a->addresses, true);
	trace_peerbar_addresses(attach->dmabuf->priv, attach);
}

void peerbar_importers_invalidated(struct peerbar_buffer *buf)
{
	struct dma_buf_attachment *attach;

	dma_resv_assert_held(buf->dmabuf->resv);

	list_for_each_entry(attach, &buf->dmabuf->attachments, node)
		if (dma_buf_attach_revocable(attach))
			WRITE_ONCE(peerbar_attachment_of(attach)->addresses, false);
}

/* ---- reports ---- */

static void peerbar_fill_importer(struct peerbar_buffer *buf, const struct peerbar_attachment *a,
				  enum peerbar_state state, struct peerbar_importer *importer)
{
	bool addresses = READ_ONCE(a->addresses);

	*importer = (struct peerbar_importer){
		.id = a->id,
		.attached_ns = a->attached_ns,
		.maps = READ_ONCE(a->maps),
	};
	if (dma_buf_attach_revocable(a->attach))
		importer->flags |= PEERBAR_IMPORTER_REVOCABLE;
	if (READ_ONCE(a->pins))
		importer->flags |= PEERBAR_IMPORTER_PINNED;
	if (addresses)
		importer->flags |= PEERBAR_IMPORTER_ADDRESSES;
	if (importer->maps || addresses) {
		importer->mapped_ns = READ_ONCE(a->mapped_ns);
		importer->bytes = max(importer->maps, 1) * (u64)buf->dmabuf->size;
	}
	/* As peerbar_buffer_drain(), which waits for no importer if one may keep its mapping. */
	if (importer->maps && state != PEERBAR_STATE_LIVE && !READ_ONCE(buf->unwilling))
		importer->flags |= PEERBAR_IMPORTER_WAITED_FOR;
	strscpy(importer->device, dev_name(a->attach->dev));
	strscpy(importer->driver, a->driver);
}

static int peerbar_list_attachments(struct peerbar_buffer *buf, u32 max, struct peerbar_list *list)
{
	struct peerbar_attachment *a;
	u32 nr = 0, room;

	scoped_guard(mutex, &buf->importers_lock)
		list_for_each_entry(a, &buf->importers, node)
			nr++;
	room = min(nr, max);
	if (room) {
		list->importers = kvcalloc(room, sizeof(*list->importers), GFP_KERNEL_ACCOUNT);
		if (!list->importers)
			return -ENOMEM;
	}
	guard(mutex)(&buf->importers_lock);
	list_for_each_entry(a, &buf->importers, node) {
		if (list->filled_importers < room)
			peerbar_fill_importer(buf, a, list->state,
					      &list->importers[list->filled_importers++]);
		list->nr_importers++;
	}
	return 0;
}

static void peerbar_name_fence(struct dma_fence *fence, struct peerbar_fence *to)
{
	const char __rcu *driver;
	const char __rcu *timeline;
	const char *text;

	/* The names may belong to a module that is unloaded once the fence has signalled. */
	guard(rcu)();
	driver = dma_fence_driver_name(fence);
	text = rcu_dereference(driver);
	strscpy(to->driver, text);
	timeline = dma_fence_timeline_name(fence);
	text = rcu_dereference(timeline);
	strscpy(to->timeline, text);
}

/* Count the pending fences, and describe the first @room. */
static void peerbar_fill_fences(struct peerbar_buffer *buf, u32 room, struct peerbar_list *list)
{
	struct peerbar_fence *to;
	struct dma_resv_iter cursor;
	struct dma_fence *fence;

	dma_resv_iter_begin(&cursor, buf->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP);
	dma_resv_for_each_fence_unlocked(&cursor, fence) {
		if (dma_resv_iter_is_restarted(&cursor)) {
			list->nr_fences = 0;
			list->filled_fences = 0;
		}
		list->nr_fences++;
		if (list->filled_fences == room)
			continue;
		to = &list->fences[list->filled_fences++];
		*to = (struct peerbar_fence){ .context = fence->context, .seqno = fence->seqno };
		peerbar_name_fence(fence, to);
	}
	dma_resv_iter_end(&cursor);
}

static int peerbar_list_fences(struct peerbar_buffer *buf, u32 max, struct peerbar_list *list)
{
	u32 room;

	peerbar_fill_fences(buf, 0, list);
	room = min(list->nr_fences, max);
	if (!room)
		return 0;
	list->fences = kvcalloc(room, sizeof(*list->fences), GFP_KERNEL_ACCOUNT);
	if (!list->fences)
		return -ENOMEM;
	list->nr_fences = 0;
	peerbar_fill_fences(buf, room, list);
	return 0;
}

void peerbar_get_fence_driver(struct peerbar_buffer *buf, char *name, size_t size)
{
	struct dma_resv_iter cursor;
	struct peerbar_fence about;
	struct dma_fence *fence;

	*name = 0;
	dma_resv_iter_begin(&cursor, buf->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP);
	dma_resv_for_each_fence_unlocked(&cursor, fence) {
		peerbar_name_fence(fence, &about);
		strscpy(name, about.driver, size);
	}
	dma_resv_iter_end(&cursor);
}

void peerbar_get_last_unmapped(struct peerbar_buffer *buf, char *name, size_t size)
{
	guard(mutex)(&buf->importers_lock);
	strscpy(name, buf->last_unmapped, size);
}

/**
 * peerbar_list_importers() - describe the importers and pending fences of a buffer
 * @buf: the caller holds a reference; no lock held
 * @max_importers: describe so many
 * @max_fences: describe so many
 * @list: receives the description; free it with peerbar_list_free(), also after an error
 *
 * Return: 0; -ENOMEM.
 */
int peerbar_list_importers(struct peerbar_buffer *buf, u32 max_importers, u32 max_fences,
			   struct peerbar_list *list)
{
	int ret;

	*list = (struct peerbar_list){ .state = READ_ONCE(buf->state) };
	if (list->state != PEERBAR_STATE_LIVE)
		list->revoked_ns = READ_ONCE(buf->revoked_ns);
	ret = peerbar_list_attachments(buf, max_importers, list) ?:
		peerbar_list_fences(buf, max_fences, list);
	/* Must be last: callers subtract the other times from it. */
	list->now_ns = ktime_get_boottime_ns();
	return ret;
}

void peerbar_list_free(struct peerbar_list *list)
{
	kvfree(list->importers);
	kvfree(list->fences);
}

void peerbar_print_importers(struct peerbar_buffer *buf, struct seq_buf *text)
{
	struct peerbar_attachment *a;

	guard(mutex)(&buf->importers_lock);
	list_for_each_entry(a, &buf->importers, node) {
		/* A revoke that waits for unmaps does not wait for the others. */
		if (!READ_ONCE(a->maps) && READ_ONCE(buf->dma_maps))
			continue;
		seq_buf_printf(text, " %s", dev_name(a->attach->dev));
		if (seq_buf_has_overflowed(text))
			break;
	}
}
