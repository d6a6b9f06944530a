// SPDX-License-Identifier: GPL-2.0
/*
 * DMA mappings of a buffer's ranges: pages of system memory, and device memory by its P2P provider.
 */
#include <linux/dma-buf-mapping.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "core.h"

/* Several importers map the same memory: don't let DMA debugging warn about it. */
#define PEERBAR_PAGES_ATTRS DMA_ATTR_DEBUGGING_IGNORE_CACHELINES

struct sg_table *peerbar_map_pages(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
				   enum dma_data_direction dir)
{
	size_t most = max(ALIGN_DOWN((size_t)dma_get_max_seg_size(attach->dev), PAGE_SIZE),
			  PAGE_SIZE),
	       at;
	const struct peerbar_range *range;
	unsigned int i, nents = 0;
	struct sg_table *sgt;
	struct scatterlist *sg;
	int ret;

	sgt = kzalloc_obj(*sgt, GFP_KERNEL_ACCOUNT);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < buf->info.nr_ranges; i++)
		nents += DIV_ROUND_UP(buf->ranges[i].len, most);
	ret = sg_alloc_table(sgt, nents, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_free;
	sg = sgt->sgl;
	for (i = 0; i < buf->info.nr_ranges; i++) {
		range = &buf->ranges[i];
		for (at = 0; at < range->len; at += most, sg = sg_next(sg))
			sg_set_page(sg, phys_to_page(range->paddr + at), min(most, range->len - at),
				    0);
	}
	ret = dma_map_sgtable(attach->dev, sgt, dir, PEERBAR_PAGES_ATTRS);
	if (ret)
		goto err_table;
	return sgt;

err_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

void peerbar_unmap_pages(struct dma_buf_attachment *attach, struct sg_table *sgt,
			 enum dma_data_direction dir)
{
	dma_unmap_sgtable(attach->dev, sgt, dir, PEERBAR_PAGES_ATTRS);
	sg_free_table(sgt);
	kfree(sgt);
}

/*
 * dma_buf_phys_vec_to_sgt() places every range at the start of the same IOVA space, and so fails
 * for several ranges behind an IOMMU. Map the ranges one by one, and give the importer a table of
 * all.
 */
struct peerbar_sgt {
	struct sg_table all;
	unsigned int nr;
	struct sg_table *one[] __counted_by(nr);
};

static void peerbar_free_some(struct peerbar_sgt *sgts, struct dma_buf_attachment *attach,
			      unsigned int nr, enum dma_data_direction dir)
{
	while (nr--) {
		/* The helper set orig_nents to 0 for importers; restore it, or the table leaks. */
		sgts->one[nr]->orig_nents = sgts->one[nr]->nents;
		dma_buf_free_sgt(attach, sgts->one[nr], dir);
	}
	kvfree(sgts);
}

struct sg_table *peerbar_map_mmio(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
				  enum dma_data_direction dir)
{
	unsigned int i, j, nents = 0, nr = buf->info.nr_ranges;
	struct scatterlist *sg, *from;
	struct peerbar_sgt *sgts;
	int ret;

	sgts = kvzalloc(struct_size(sgts, one, nr), GFP_KERNEL_ACCOUNT);
	if (!sgts)
		return ERR_PTR(-ENOMEM);
	sgts->nr = nr;
	for (i = 0; i < nr; i++) {
		struct phys_vec vec = { .paddr = buf->ranges[i].paddr, .len = buf->ranges[i].len };

		sgts->one[i] = dma_buf_phys_vec_to_sgt(attach, buf->info.provider, &vec, 1, vec.len,
						       dir);
		if (IS_ERR(sgts->one[i])) {
			ret = PTR_ERR(sgts->one[i]);
			goto err_free;
		}
		nents += sgts->one[i]->nents;
	}
	ret = sg_alloc_table(&sgts->all, nents, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_free;
	sg = sgts->all.sgl;
	for (i = 0; i < nr; i++) {
		for_each_sgtable_dma_sg(sgts->one[i], from, j) {
			sg_set_page(sg, NULL, 0, 0);
			sg_dma_address(sg) = sg_dma_address(from);
			sg_dma_len(sg) = sg_dma_len(from);
			sg = sg_next(sg);
		}
	}
	/* The table has no pages for the CPU. */
	sgts->all.orig_nents = 0;
	return &sgts->all;

err_free:
	peerbar_free_some(sgts, attach, i, dir);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(peerbar_map_mmio);

void peerbar_unmap_mmio(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
			struct sg_table *sgt, enum dma_data_direction dir)
{
	struct peerbar_sgt *sgts = container_of(sgt, struct peerbar_sgt, all);

	sgts->all.orig_nents = sgts->all.nents;
	sg_free_table(&sgts->all);
	peerbar_free_some(sgts, attach, sgts->nr, dir);
}
EXPORT_SYMBOL_GPL(peerbar_unmap_mmio);
