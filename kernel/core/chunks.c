// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of a buffer, for importers in the kernel that need no scatterlist: physical ranges,
 * kernel addresses, page frames.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "core.h"

static struct peerbar_buffer *peerbar_get_attached_buffer(struct dma_buf_attachment *attach)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(attach->dmabuf);
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (!buf) {
		pr_debug("no addresses for %s: the dma-buf of %s is not peerbar's\n",
			 dev_name(attach->dev), attach->dmabuf->exp_name);
		return ERR_PTR(-EOPNOTSUPP);
	}
	if (buf->info.model != PEERBAR_MODEL_PINNED && !dma_buf_attach_revocable(attach)) {
		peerbar_dbg(buf,
			    "no addresses for %s: the importer has no invalidate_mappings(), and the model is not PINNED",
			    dev_name(attach->dev));
		return ERR_PTR(-EOPNOTSUPP);
	}
	ret = peerbar_buffer_enter(buf);
	if (ret) {
		peerbar_dbg(buf,
			    "no addresses for %s: the state is %s, not LIVE, or its exporter is busy: error %d",
			    dev_name(attach->dev), peerbar_state_name(buf), ret);
		return ERR_PTR(ret);
	}
	peerbar_buffer_leave(buf);
	return buf;
}

/* Allocate once: a buffer has one provider, so it is one chunk, followed by its addresses. */
int peerbar_dma_buf_get_chunks(struct dma_buf_attachment *attach, struct peerbar_chunk **chunks,
			       size_t *nr_chunks)
{
	struct peerbar_buffer *buf = peerbar_get_attached_buffer(attach);
	struct peerbar_chunk *chunk;
	unsigned int i;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	chunk = kvzalloc(size_add(sizeof(*chunk),
				  array_size(buf->info.nr_ranges, sizeof(*chunk->addrs))),
			 GFP_KERNEL_ACCOUNT);
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
	peerbar_importer_got_addresses(attach);
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
	struct peerbar_buffer *buf = peerbar_get_attached_buffer(attach);
	const struct peerbar_range *range;
	void __iomem *io;

	if (IS_ERR(buf) || !buf->info.mmio || !buf->info.ops->iomem)
		return NULL;
	range = peerbar_find_range(buf, offset);
	if (!range)
		return NULL;
	io = buf->info.ops->iomem(buf, range - buf->ranges);
	if (!io)
		return NULL;
	peerbar_importer_got_addresses(attach);
	return io + (offset - range->offset);
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_iomem);

int peerbar_dma_buf_get_pfn(struct dma_buf_attachment *attach, u64 offset, unsigned int max_order,
			    unsigned long *pfn, unsigned int *order)
{
	struct peerbar_buffer *buf = peerbar_get_attached_buffer(attach);
	unsigned long first;
	unsigned int best = 0;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	if (!PAGE_ALIGNED(offset)) {
		peerbar_dbg(buf, "no page frame at offset 0x%llx: it is not page-aligned", offset);
		return -EINVAL;
	}
	if (!peerbar_find_pfn(buf, offset, 0, pfn)) {
		peerbar_dbg(buf, "no page frame at offset 0x%llx: the buffer has 0x%zx bytes",
			    offset, buf->dmabuf->size);
		return -ERANGE;
	}
	while (best < min_t(unsigned int, max_order, PUD_ORDER) &&
	       peerbar_find_pfn(buf, ALIGN_DOWN(offset, PAGE_SIZE << (best + 1)), best + 1,
				&first) &&
	       first == ALIGN_DOWN(*pfn, 1UL << (best + 1)))
		best++;
	*order = best;
	peerbar_importer_got_addresses(attach);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_get_pfn);

int peerbar_dma_buf_iommufd_map(struct dma_buf_attachment *attach, struct phys_vec *phys)
{
	struct peerbar_buffer *buf = peerbar_get_attached_buffer(attach);

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	if (buf->info.model == PEERBAR_MODEL_DYNAMIC) {
		pr_info_ratelimited("iommufd cannot map dma-buf %s: its memory model is DYNAMIC, and iommufd cannot follow a move\n",
				    buf->label);
		return -EOPNOTSUPP;
	}
	/* iommufd maps one range, as MMIO. */
	if (!buf->info.mmio || buf->info.nr_ranges != 1) {
		peerbar_dbg(buf,
			    "iommufd cannot map it: it has %u ranges of %s memory, and iommufd maps one of device memory",
			    buf->info.nr_ranges, buf->info.mmio ? "device" : "system");
		return -EOPNOTSUPP;
	}
	phys->paddr = buf->ranges[0].paddr;
	phys->len = buf->ranges[0].len;
	peerbar_importer_got_addresses(attach);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_iommufd_map);
