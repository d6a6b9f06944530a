// SPDX-License-Identifier: GPL-2.0
/*
 * The memory model and the memory of a dma-buf, for importers in the kernel.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#include "core.h"

static DECLARE_RWSEM(exporters_lock); /* held while calling an exporter, so that it stays */
static LIST_HEAD(exporters);

int peerbar_exporter_register(struct peerbar_exporter *exporter)
{
	struct peerbar_exporter *other;

	guard(rwsem_write)(&exporters_lock);
	list_for_each_entry(other, &exporters, node)
		if (other->ops == exporter->ops)
			return -EEXIST;
	list_add_tail(&exporter->node, &exporters);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_exporter_register);

void peerbar_exporter_unregister(struct peerbar_exporter *exporter)
{
	guard(rwsem_write)(&exporters_lock);
	list_del(&exporter->node);
}
EXPORT_SYMBOL_GPL(peerbar_exporter_unregister);

static bool peerbar_declared_model(struct dma_buf *dmabuf, enum peerbar_model *model)
{
	struct peerbar_exporter *exporter;

	guard(rwsem_read)(&exporters_lock);
	list_for_each_entry(exporter, &exporters, node) {
		if (exporter->ops == dmabuf->ops) {
			*model = exporter->model(dmabuf);
			return true;
		}
	}
	return false;
}

static void peerbar_probe_invalidate(struct dma_buf_attachment *attach)
{
	/* A probe has no mappings. */
}

/* One importer without invalidate_mappings(), which keeps its mappings, and one with it. */
static const struct dma_buf_attach_ops peerbar_probe_keeps = {
	.allow_peer2peer = true,
};

static const struct dma_buf_attach_ops peerbar_probe_lets_go = {
	.allow_peer2peer = true,
	.invalidate_mappings = peerbar_probe_invalidate,
};

static int peerbar_probe(struct dma_buf *dmabuf, const struct dma_buf_attach_ops *ops)
{
	struct dma_buf_attachment *attach;

	attach = dma_buf_dynamic_attach(dmabuf, peerbar_probe_device(), ops, NULL);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	dma_buf_detach(dmabuf, attach);
	return 0;
}

/*
 * Derive the model by the contract of dma-buf:
 * - an exporter with a pin operation moves memory that is not pinned: DYNAMIC;
 * - an exporter without it that accepts importers without invalidate_mappings() keeps the memory in
 *   place while they are attached: PINNED;
 * - an exporter that refuses only those importers revokes memory: REVOCABLE.
 */
static enum peerbar_model peerbar_derived_model(struct dma_buf *dmabuf)
{
	if (dma_buf_is_dynamic(dmabuf))
		return PEERBAR_MODEL_DYNAMIC;
	switch (peerbar_probe(dmabuf, &peerbar_probe_keeps)) {
	case 0:
		return PEERBAR_MODEL_PINNED;
	case -EOPNOTSUPP:
		if (!peerbar_probe(dmabuf, &peerbar_probe_lets_go))
			return PEERBAR_MODEL_REVOCABLE;
	}
	return PEERBAR_MODEL_UNKNOWN;
}

enum peerbar_model peerbar_dma_buf_model(struct dma_buf *dmabuf, bool *declared)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(dmabuf);
	enum peerbar_model model;
	bool said = true;

	if (buf) {
		model = buf->info.model;
	} else if (!peerbar_declared_model(dmabuf, &model)) {
		model = peerbar_derived_model(dmabuf);
		said = false;
	}
	if (declared)
		*declared = said;
	return model;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_model);

bool peerbar_dma_buf_revoked(struct dma_buf *dmabuf)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(dmabuf);

	if (buf)
		return READ_ONCE(buf->state) != PEERBAR_STATE_LIVE;
	return peerbar_probe(dmabuf, &peerbar_probe_lets_go) == -ENODEV;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_revoked);

/* ---- memory of a buffer ---- */

const struct peerbar_range *peerbar_range_at(struct peerbar_buffer *buf, u64 offset)
{
	unsigned int low = 0, high = buf->info.nr_ranges;

	if (offset >= buf->dmabuf->size)
		return NULL;
	/* Find the last range that does not begin after @offset. */
	while (high - low > 1) {
		unsigned int mid = low + (high - low) / 2;

		if (buf->ranges[mid].offset <= offset)
			low = mid;
		else
			high = mid;
	}
	return &buf->ranges[low];
}

/*
 * Whether the block of @order that begins at @offset is inside one range and aligned in physical
 * memory; if so, return its frame in @pfn.
 */
bool peerbar_pfn_at(struct peerbar_buffer *buf, u64 offset, unsigned int order, unsigned long *pfn)
{
	const struct peerbar_range *range = peerbar_range_at(buf, offset);
	u64 before;

	if (!range)
		return false;
	before = offset - range->offset;
	if (range->len - before < PAGE_SIZE << order)
		return false;
	*pfn = PHYS_PFN(range->paddr + before);
	return IS_ALIGNED(*pfn, 1UL << order);
}

static struct peerbar_buffer *peerbar_attached_buffer(struct dma_buf_attachment *attach)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(attach->dmabuf);
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (!buf)
		return ERR_PTR(-EOPNOTSUPP);
	if (buf->info.model != PEERBAR_MODEL_PINNED && !dma_buf_attach_revocable(attach))
		return ERR_PTR(-EOPNOTSUPP);
	ret = peerbar_buffer_enter(buf);
	if (ret)
		return ERR_PTR(ret);
	peerbar_buffer_leave(buf);
	return buf;
}

/* Allocate once: a buffer has one provider, so it is one chunk, followed by its addresses. */
int peerbar_dma_buf_get_chunks(struct dma_buf_attachment *attach, struct peerbar_chunk **chunks, size_t *nr_chunks)
{
	struct peerbar_buffer *buf = peerbar_attached_buffer(attach);
	struct peerbar_chunk *chunk;
	unsigned int i;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	chunk = kvzalloc(size_add(sizeof(*chunk), array_size(buf->info.nr_ranges, sizeof(*chunk->addrs))), GFP_KERNEL);
	if (!chunk)
		return -ENOMEM;
	chunk->provider = buf->info.provider;
	chunk->nr_addrs = buf->info.nr_ranges;
	chunk->addrs = (struct phys_vec *)(chunk + 1);
	for (i = 0; i < buf->info.nr_ranges; i++) {
		chunk->addrs[i].paddr = buf->ranges[i].paddr;
		chunk->addrs[i].len = buf->ranges[i].len;
	}
	*chunks = chunk;
	*nr_chunks = 1;
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_get_chunks);

void peerbar_chunks_free(struct peerbar_chunk *chunks, size_t nr_chunks)
{
	kvfree(chunks);
}
EXPORT_SYMBOL_GPL(peerbar_chunks_free);

void __iomem *peerbar_dma_buf_iomem(struct dma_buf_attachment *attach, u64 offset)
{
	struct peerbar_buffer *buf = peerbar_attached_buffer(attach);
	const struct peerbar_range *range;
	void __iomem *io;

	if (IS_ERR(buf) || !buf->info.mmio || !buf->info.ops->iomem)
		return NULL;
	range = peerbar_range_at(buf, offset);
	if (!range)
		return NULL;
	io = buf->info.ops->iomem(buf, range - buf->ranges);
	return io ? io + (offset - range->offset) : NULL;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_iomem);

int peerbar_dma_buf_get_pfn(struct dma_buf_attachment *attach, u64 offset, unsigned int max_order, unsigned long *pfn,
			    unsigned int *order)
{
	struct peerbar_buffer *buf = peerbar_attached_buffer(attach);
	unsigned long first;
	unsigned int best = 0;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	if (!PAGE_ALIGNED(offset))
		return -EINVAL;
	if (!peerbar_pfn_at(buf, offset, 0, pfn))
		return -ERANGE;
	while (best < min_t(unsigned int, max_order, PUD_ORDER) &&
	       peerbar_pfn_at(buf, ALIGN_DOWN(offset, PAGE_SIZE << (best + 1)), best + 1, &first) &&
	       first == ALIGN_DOWN(*pfn, 1UL << (best + 1)))
		best++;
	*order = best;
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_get_pfn);

int peerbar_dma_buf_iommufd_map(struct dma_buf_attachment *attach, struct phys_vec *phys)
{
	struct peerbar_buffer *buf = peerbar_attached_buffer(attach);

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	if (buf->info.model == PEERBAR_MODEL_DYNAMIC) {
		pr_info_ratelimited("iommufd cannot map dma-buf %s: its memory model is DYNAMIC, and iommufd cannot follow a move\n",
				    buf->label);
		return -EOPNOTSUPP;
	}
	/* iommufd maps one range, as MMIO. */
	if (!buf->info.mmio || buf->info.nr_ranges != 1)
		return -EOPNOTSUPP;
	phys->paddr = buf->ranges[0].paddr;
	phys->len = buf->ranges[0].len;
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_iommufd_map);
