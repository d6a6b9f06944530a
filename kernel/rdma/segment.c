// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of a mapped dma-buf, as segments that the CPU can address. For peerbar's exporters,
 * peerbar_dma_buf_get_chunks() returns the ranges. For others, the IOMMU translates the DMA
 * addresses.
 */
#include <linux/dma-buf.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/vmalloc.h>

#include "dmabuf.h"
#include "peerbar_kapi.h"

void pbr_segments_free(struct pbr_mr *mr)
{
	unsigned int i;

	for (i = 0; i < mr->nr; i++)
		if (mr->segments[i].mapped)
			iounmap(mr->segments[i].io);
	kvfree(mr->segments);
	mr->segments = NULL;
	mr->nr = 0;
}

/*
 * Add physically contiguous memory as a segment that the CPU can address. @io is its existing
 * mapping, or NULL.
 */
static int pbr_segment_add(struct pbr_mr *mr, u64 offset, phys_addr_t phys, size_t len,
			   void __iomem *io)
{
	struct pbr_segment *seg = mr->segments;

	/* Most regions have one segment; grow by powers of two. */
	if (!(mr->nr & (mr->nr - 1))) {
		seg = kvrealloc(seg, (mr->nr ? 2 * mr->nr : 1) * sizeof(*seg), pbr_gfp(true));
		if (!seg)
			return -ENOMEM;
		mr->segments = seg;
	}
	seg += mr->nr;
	seg->offset = offset;
	seg->len = len;
	seg->mmio = io || !pfn_valid(PHYS_PFN(phys)) || !page_is_ram(PHYS_PFN(phys));
	seg->mapped = seg->mmio && !io;
	if (seg->mmio)
		seg->io = io ?: ioremap(phys, len);
	else
		seg->va = phys_to_virt(phys);
	if (!seg->va)
		return -ENOMEM;
	mr->nr++;
	return 0;
}

/* ---- DMA addresses of other exporters ---- */

/**
 * struct pbr_run - physically contiguous memory
 * @offset: of @phys in the region
 * @phys: its address
 * @len: its length; 0 before the first
 * @bus: the addresses were bus addresses of a BAR, which the IOMMU does not translate
 */
struct pbr_run {
	u64 offset;
	phys_addr_t phys;
	u64 len;
	bool bus;
};

static bool pbr_has_bar_with(struct pci_dev *pdev, phys_addr_t phys, u64 len)
{
	struct resource *res;
	unsigned int i;

	pci_dev_for_each_resource(pdev, res, i)
		if (resource_type(res) == IORESOURCE_MEM && phys >= res->start &&
		    phys + len - 1 <= res->end)
			return true;
	return false;
}

/*
 * Whether the function reaches the BAR that contains the range by its bus address. Such accesses do
 * not pass the IOMMU: a switch routes them. Then nothing isolates the two functions from each
 * other, and both are in one IOMMU group. Otherwise the address is an exporter's mistake, and the
 * IOMMU would drop the DMA of a NIC.
 */
static bool pbr_reaches_bus_address(struct pbr_device *dev, phys_addr_t phys, u64 len)
{
	struct iommu_group *ours = iommu_group_get(&dev->pdev->dev), *theirs;
	struct pci_dev *owner = NULL;
	bool reached = false;

	for_each_pci_dev(owner) {
		if (!pbr_has_bar_with(owner, phys, len))
			continue;
		theirs = iommu_group_get(&owner->dev);
		reached = ours && ours == theirs;
		iommu_group_put(theirs);
		pci_dev_put(owner);
		break;
	}
	iommu_group_put(ours);
	return reached;
}

static int pbr_run_end(struct pbr_mr *mr, const struct pbr_run *run)
{
	struct pbr_device *dev = to_pbr(mr->pd->device);

	if (!run->len)
		return 0;
	if (run->bus && !pbr_reaches_bus_address(dev, run->phys, run->len))
		return -EFAULT;
	return pbr_segment_add(mr, run->offset, run->phys, run->len, NULL);
}

/* Append the page at a DMA address to the run, or begin another. */
static int pbr_run_add(struct pbr_mr *mr, struct pbr_run *run, u64 dma)
{
	phys_addr_t phys;
	bool bus;
	int ret;

	ret = pbr_dma_to_phys(to_pbr(mr->pd->device), dma, &phys, &bus);
	if (ret)
		return ret;
	if (run->len && phys == run->phys + run->len && bus == run->bus &&
	    pfn_valid(PHYS_PFN(phys)) == pfn_valid(PHYS_PFN(run->phys))) {
		run->len += PAGE_SIZE;
		return 0;
	}
	ret = pbr_run_end(mr, run);
	*run = (struct pbr_run){ run->offset + run->len, phys, PAGE_SIZE, bus };
	return ret;
}

/* Add a segment for each run of DMA addresses that is physically contiguous as well. */
static int pbr_segments_of_table(struct pbr_mr *mr, struct sg_table *sgt, u64 offset)
{
	u64 left = PAGE_ALIGN(mr->first + mr->length), at;
	struct pbr_run run = {};
	struct scatterlist *sg;
	unsigned int i;
	int ret;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (offset >= sg_dma_len(sg)) {
			offset -= sg_dma_len(sg);
			continue;
		}
		/* Refuse partial pages: the rest of the page may be another owner's. */
		if (!IS_ALIGNED(sg_dma_address(sg) | sg_dma_len(sg), PAGE_SIZE))
			return -EINVAL;
		for (at = offset; at < sg_dma_len(sg) && left; at += PAGE_SIZE, left -= PAGE_SIZE) {
			ret = pbr_run_add(mr, &run, sg_dma_address(sg) + at);
			if (ret)
				return ret;
		}
		offset = 0;
		if (!left)
			break;
		cond_resched();
	}
	return left ? -EINVAL : pbr_run_end(mr, &run);
}

/* ---- peerbar's exporters ---- */

/*
 * Add a segment for each range of the exporter, starting at @offset. Segments are valid for as long
 * as the DMA addresses are.
 */
static int pbr_segments_of_chunks(struct pbr_mr *mr, struct dma_buf_attachment *attach,
				  const struct peerbar_chunk *chunks, size_t nr_chunks, u64 offset)
{
	u64 left = PAGE_ALIGN(mr->first + mr->length), begin = offset, at = 0, len;
	const struct phys_vec *addr, *end;
	size_t i;
	int ret;

	for (i = 0; i < nr_chunks; i++) {
		end = chunks[i].addrs + chunks[i].nr_addrs;
		for (addr = chunks[i].addrs; addr < end && left; addr++) {
			if (offset >= addr->len) {
				offset -= addr->len;
				continue;
			}
			len = min(addr->len - offset, left);
			ret = pbr_segment_add(mr, at, addr->paddr + offset, len,
					      peerbar_dma_buf_iomem(attach, begin + at));
			if (ret)
				return ret;
			at += len;
			left -= len;
			offset = 0;
		}
	}
	return left || !at ? -EINVAL : 0;
}

int pbr_segments_make(struct pbr_mr *mr, struct dma_buf_attachment *attach, struct sg_table *sgt,
		      u64 offset)
{
	struct peerbar_chunk *chunks;
	size_t nr_chunks;
	int ret;

	ret = peerbar_dma_buf_get_chunks(attach, &chunks, &nr_chunks);
	if (!ret) {
		ret = pbr_segments_of_chunks(mr, attach, chunks, nr_chunks, offset);
		peerbar_chunks_free(chunks, nr_chunks);
	} else if (ret == -EOPNOTSUPP) {
		ret = pbr_segments_of_table(mr, sgt, offset);
	}
	if (ret)
		pbr_segments_free(mr);
	return ret;
}
