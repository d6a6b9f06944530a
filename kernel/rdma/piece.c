// SPDX-License-Identifier: GPL-2.0
/* Where the CPU finds a region's memory, for each kind of region. */
#include <linux/dma-direct.h>
#include <linux/iommu.h>
#include <linux/memremap.h>

#include "piece.h"
#include "user_memory.h"

/*
 * Translate a DMA address of the device. Behind an IOMMU, use the IOMMU's translation. An address
 * without one is a bus address of a peer behind the same switch, which only a PCI function has.
 */
int pbr_dma_to_phys(struct pbr_device *dev, u64 dma, phys_addr_t *phys, bool *bus)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev->dma);
	struct pci_bus_region region = { .start = dma, .end = dma };
	struct resource res = { .flags = IORESOURCE_MEM };

	if (bus)
		*bus = false;
	if (!domain || domain->type == IOMMU_DOMAIN_IDENTITY) {
		*phys = dma_to_phys(dev->dma, dma);
		return 0;
	}
	*phys = iommu_iova_to_phys(domain, dma);
	if (*phys)
		return 0;
	if (!dev->pdev)
		return -EFAULT;
	pcibios_bus_to_resource(dev->pdev->bus, &res, &region);
	*phys = res.start;
	if (bus)
		*bus = true;
	return page_is_ram(PHYS_PFN(*phys)) ? -EFAULT : 0;
}

static int pbr_piece_of_pages(struct pbr_mr *mr, u64 offset, struct pbr_piece *piece)
{
	struct page *page = mr->pages[offset >> PAGE_SHIFT];

	piece->va = page_address(page) + offset_in_page(offset);
	piece->len = PAGE_SIZE - offset_in_page(offset);
	piece->mmio = false;
	return 0;
}

static int pbr_piece_of_segments(struct pbr_mr *mr, u64 offset, struct pbr_piece *piece)
{
	unsigned int lo = 0, hi = mr->nr, mid;
	const struct pbr_segment *seg;

	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		if (mr->segments[mid].offset <= offset)
			lo = mid;
		else
			hi = mid;
	}
	seg = &mr->segments[lo];
	offset -= seg->offset;
	piece->mmio = seg->mmio;
	if (seg->mmio)
		piece->io = seg->io + offset;
	else
		piece->va = seg->va + offset;
	piece->len = seg->len - offset;
	return 0;
}

/* The kernel's own queue pairs refer to memory by DMA address. */
static int pbr_piece_of_dma(struct pbr_device *dev, u64 dma, struct pbr_piece *piece)
{
	phys_addr_t phys;
	int ret;

	ret = pbr_dma_to_phys(dev, dma, &phys, NULL);
	if (ret)
		return ret;
	if (!pfn_valid(PHYS_PFN(phys)))
		return -EFAULT;
	/* Device memory has pages too, if its driver publishes it for peer-to-peer DMA. */
	piece->mmio = is_pci_p2pdma_page(pfn_to_page(PHYS_PFN(phys)));
	if (piece->mmio)
		piece->io = (void __iomem *)phys_to_virt(phys);
	else
		piece->va = phys_to_virt(phys);
	piece->len = PAGE_SIZE - offset_in_page(phys);
	return 0;
}

/* As pbr_piece_of_dma(), for a fast registration. */
static int pbr_piece_of_fast(struct pbr_device *dev, const struct pbr_mr *mr, u64 offset,
			     struct pbr_piece *piece)
{
	size_t len;
	int ret;

	ret = pbr_piece_of_dma(dev, pbr_fast_dma(mr, offset, &len), piece);
	if (ret)
		return ret;
	piece->len = min(piece->len, len);
	return 0;
}

/* @addr is the process's address: the region's @first is one. */
static int pbr_piece_of_user(struct pbr_mr *mr, u64 addr, bool write, struct pbr_piece *piece)
{
	piece->mmio = false;
	return pbr_user_memory_at(mr, addr, write, &piece->va, &piece->len);
}

static int pbr_piece_of_mr(struct pbr_device *dev, struct pbr_mr *mr, u64 offset, bool write,
			   struct pbr_piece *piece)
{
	switch (mr->kind) {
	case PBR_MR_PAGES:
		return pbr_piece_of_pages(mr, offset, piece);
	case PBR_MR_USER:
		return pbr_piece_of_user(mr, offset, write, piece);
	case PBR_MR_SEGMENTS:
		return pbr_piece_of_segments(mr, offset, piece);
	case PBR_MR_FAST:
		return pbr_piece_of_fast(dev, mr, offset, piece);
	case PBR_MR_DMA:
		return pbr_piece_of_dma(dev, offset, piece);
	default:
		return -EFAULT;
	}
}

int pbr_piece(struct pbr_refs *refs, u64 at, struct pbr_piece *piece)
{
	struct pbr_ref *ref = refs->ref;
	u64 offset;
	int ret;

	while (at >= ref->len)
		at -= ref++->len;
	if (ref->va) {
		*piece = (struct pbr_piece){ .va = ref->va + at, .len = ref->len };
		ret = 0;
	} else if (!ref->mr) {
		ret = refs->dma ? pbr_piece_of_dma(refs->dev, ref->addr + at, piece) : -EFAULT;
	} else {
		offset = ref->addr - ref->mr->iova;
		if (ref->mr != ref->region)
			offset += ref->mr->first - ref->region->iova;
		offset += ref->region->first + at;
		ret = pbr_piece_of_mr(refs->dev, ref->region, offset, pbr_refs_write(refs), piece);
		if (ret == -EAGAIN)
			return pbr_refs_set_fault(refs, ref->region, ref->addr + at, ref->len - at);
	}
	piece->len = min_t(u64, piece->len, ref->len - at);
	return ret;
}
