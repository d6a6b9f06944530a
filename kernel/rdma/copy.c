// SPDX-License-Identifier: GPL-2.0
/* Moving bytes between regions: once, from where they are to where they belong. */
#include <linux/dma-direct.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/memremap.h>
#include <linux/sched/signal.h>
#include <linux/unaligned.h>

#include "rdma.h"

/*
 * What a DMA address of the function stands for. Behind an IOMMU that is what the IOMMU translates it to; without a translation
 * for it, it is a bus address of a peer behind the same switch.
 */
int pb_dma_to_phys(struct pb_device *dev, u64 dma, phys_addr_t *phys)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&dev->pdev->dev);
	struct pci_bus_region region = { .start = dma, .end = dma };
	struct resource res = { .flags = IORESOURCE_MEM };

	if (!domain || domain->type == IOMMU_DOMAIN_IDENTITY) {
		*phys = dma_to_phys(&dev->pdev->dev, dma);
		return 0;
	}
	*phys = iommu_iova_to_phys(domain, dma);
	if (*phys)
		return 0;
	pcibios_bus_to_resource(dev->pdev->bus, &res, &region);
	*phys = res.start;
	return page_is_ram(PHYS_PFN(*phys)) ? -EFAULT : 0;
}

/* ---- pieces that the CPU can address ---- */

struct pb_piece {
	union {
		u8 *va;
		u8 __iomem *io;
	};
	size_t len;
	bool mmio;
};

static int pb_piece_of_pages(struct pb_mr *mr, u64 offset, struct pb_piece *piece)
{
	struct page *page = mr->pages[offset >> PAGE_SHIFT];

	piece->va = page_address(page) + offset_in_page(offset);
	piece->len = PAGE_SIZE - offset_in_page(offset);
	piece->mmio = false;
	return 0;
}

static int pb_piece_of_segments(struct pb_mr *mr, u64 offset, struct pb_piece *piece)
{
	unsigned int lo = 0, hi = mr->nr, mid;
	const struct pb_segment *seg;

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

/* the kernel's own queue pairs name memory by its DMA address */
static int pb_piece_of_dma(struct pb_device *dev, u64 dma, struct pb_piece *piece)
{
	phys_addr_t phys;
	int ret;

	ret = pb_dma_to_phys(dev, dma, &phys);
	if (ret)
		return ret;
	if (!pfn_valid(PHYS_PFN(phys)))
		return -EFAULT;
	/* a device's memory has pages too, if its driver gives it away for peer-to-peer DMA */
	piece->mmio = is_pci_p2pdma_page(pfn_to_page(PHYS_PFN(phys)));
	if (piece->mmio)
		piece->io = (void __iomem *)phys_to_virt(phys);
	else
		piece->va = phys_to_virt(phys);
	piece->len = PAGE_SIZE - offset_in_page(phys);
	return 0;
}

/* the same, of a fast registration */
static int pb_piece_of_fast(struct pb_device *dev, const struct pb_mr *mr, u64 offset, struct pb_piece *piece)
{
	size_t len;
	int ret;

	ret = pb_piece_of_dma(dev, pb_fast_dma(mr, offset, &len), piece);
	if (ret)
		return ret;
	piece->len = min(piece->len, len);
	return 0;
}

static int pb_piece_of_mr(struct pb_device *dev, struct pb_mr *mr, u64 offset, struct pb_piece *piece)
{
	switch (mr->kind) {
	case PB_MR_PAGES:
		return pb_piece_of_pages(mr, offset, piece);
	case PB_MR_SEGMENTS:
		return pb_piece_of_segments(mr, offset, piece);
	case PB_MR_FAST:
		return pb_piece_of_fast(dev, mr, offset, piece);
	case PB_MR_DMA:
		return pb_piece_of_dma(dev, offset, piece);
	default:
		return -EFAULT;
	}
}

/* Where byte @at of the message is, and how many follow it. */
static int pb_piece(struct pb_refs *refs, u64 at, struct pb_piece *piece)
{
	struct pb_ref *ref = refs->ref;
	u64 offset;
	int ret;

	while (at >= ref->len)
		at -= ref++->len;
	if (ref->va) {
		*piece = (struct pb_piece){ .va = ref->va + at, .len = ref->len };
		ret = 0;
	} else if (!ref->mr) {
		ret = refs->dma ? pb_piece_of_dma(refs->dev, ref->addr + at, piece) : -EFAULT;
	} else {
		offset = ref->addr - ref->mr->iova;
		if (ref->mr != ref->region)
			offset += ref->mr->first - ref->region->iova;
		offset += ref->region->first + at;
		ret = pb_piece_of_mr(refs->dev, ref->region, offset, piece);
	}
	piece->len = min_t(u64, piece->len, ref->len - at);
	return ret;
}

/* ---- copying, with the loads and stores that the memory wants: whole aligned words where there is a device ---- */

static void pb_to_mmio(u8 __iomem *dst, const u8 *src, size_t len)
{
	while (len && !IS_ALIGNED((unsigned long)dst, 8)) {
		__raw_writeb(*src++, dst++);
		len--;
	}
	for (; len >= 64; dst += 64, src += 64, len -= 64) {
		__raw_writeq(get_unaligned((u64 *)src), dst);
		__raw_writeq(get_unaligned((u64 *)(src + 8)), dst + 8);
		__raw_writeq(get_unaligned((u64 *)(src + 16)), dst + 16);
		__raw_writeq(get_unaligned((u64 *)(src + 24)), dst + 24);
		__raw_writeq(get_unaligned((u64 *)(src + 32)), dst + 32);
		__raw_writeq(get_unaligned((u64 *)(src + 40)), dst + 40);
		__raw_writeq(get_unaligned((u64 *)(src + 48)), dst + 48);
		__raw_writeq(get_unaligned((u64 *)(src + 56)), dst + 56);
	}
	for (; len >= 8; dst += 8, src += 8, len -= 8)
		__raw_writeq(get_unaligned((u64 *)src), dst);
	while (len--)
		__raw_writeb(*src++, dst++);
}

static void pb_from_mmio(u8 *dst, const u8 __iomem *src, size_t len)
{
	while (len && !IS_ALIGNED((unsigned long)src, 8)) {
		*dst++ = __raw_readb(src++);
		len--;
	}
	for (; len >= 64; dst += 64, src += 64, len -= 64) {
		put_unaligned(__raw_readq(src), (u64 *)dst);
		put_unaligned(__raw_readq(src + 8), (u64 *)(dst + 8));
		put_unaligned(__raw_readq(src + 16), (u64 *)(dst + 16));
		put_unaligned(__raw_readq(src + 24), (u64 *)(dst + 24));
		put_unaligned(__raw_readq(src + 32), (u64 *)(dst + 32));
		put_unaligned(__raw_readq(src + 40), (u64 *)(dst + 40));
		put_unaligned(__raw_readq(src + 48), (u64 *)(dst + 48));
		put_unaligned(__raw_readq(src + 56), (u64 *)(dst + 56));
	}
	for (; len >= 8; dst += 8, src += 8, len -= 8)
		put_unaligned(__raw_readq(src), (u64 *)dst);
	while (len--)
		*dst++ = __raw_readb(src++);
}

/* From one device to another: through a register, never through memory. */
static void pb_mmio_to_mmio(u8 __iomem *dst, const u8 __iomem *src, size_t len)
{
	/* words only if both can be aligned at once */
	if (((unsigned long)dst ^ (unsigned long)src) & 7) {
		while (len--)
			__raw_writeb(__raw_readb(src++), dst++);
		return;
	}
	while (len && !IS_ALIGNED((unsigned long)dst, 8)) {
		__raw_writeb(__raw_readb(src++), dst++);
		len--;
	}
	for (; len >= 8; dst += 8, src += 8, len -= 8)
		__raw_writeq(__raw_readq(src), dst);
	while (len--)
		__raw_writeb(__raw_readb(src++), dst++);
}

static void pb_copy_piece(struct pb_piece *dst, struct pb_piece *src, size_t len)
{
	if (dst->mmio && src->mmio)
		pb_mmio_to_mmio(dst->io, src->io, len);
	else if (dst->mmio)
		pb_to_mmio(dst->io, src->va, len);
	else if (src->mmio)
		pb_from_mmio(dst->va, src->io, len);
	else if (dst->va >= src->va + len || src->va >= dst->va + len)
		memcpy(dst->va, src->va, len);
	else if (dst->va != src->va)
		memmove(dst->va, src->va, len);
}

static bool pb_is_over(const struct pb_refs *refs)
{
	enum ib_qp_state state = READ_ONCE(*refs->state);

	return state == IB_QPS_ERR || state == IB_QPS_RESET;
}

int pb_copy(struct pb_refs *dst, u64 dst_at, struct pb_refs *src, u64 len, struct pb_refs **who)
{
	struct pb_piece to, from;
	u64 at = 0, pause = PB_COPY_PIECE;
	size_t n;
	int ret;

	while (at < len) {
		*who = dst;
		ret = pb_piece(dst, dst_at + at, &to);
		if (ret)
			return ret;
		*who = src;
		ret = pb_piece(src, at, &from);
		if (ret)
			return ret;
		n = min3(to.len, from.len, (size_t)min_t(u64, len - at, PB_COPY_PIECE));
		pb_copy_piece(&to, &from, n);
		at += n;
		if (at < pause || at == len)
			continue;
		/* a revocation may come in between, or the end of a queue pair */
		pause = at + PB_COPY_PIECE;
		pb_refs_put(dst);
		pb_refs_put(src);
		if (pb_is_over(dst) || pb_is_over(src) || fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		*who = src;
		ret = pb_refs_get(src);
		if (ret)
			return ret;
		*who = dst;
		ret = pb_refs_get(dst);
		if (ret)
			return ret;
	}
	/* writes to devices are there before anybody is told that they are */
	wmb();
	return 0;
}

/* An atomic on 8 aligned bytes. Where the memory has no atomics, no other atomic of this device comes in between. */
int pb_atomic(struct pb_device *dev, struct pb_refs *remote, bool swap, u64 compare_add, u64 swap_val, u64 *old)
{
	struct pb_piece piece;
	atomic64_t *word;
	u64 value;
	int ret;

	ret = pb_piece(remote, 0, &piece);
	if (ret)
		return ret;
	/* an aligned address need not be aligned memory: a region's address is what its owner calls it */
	if (!IS_ALIGNED((unsigned long)piece.va, sizeof(u64)) || piece.len < sizeof(u64))
		return -EINVAL;
	if (!piece.mmio) {
		word = (atomic64_t *)piece.va;
		*old = swap ? atomic64_cmpxchg(word, compare_add, swap_val) : atomic64_fetch_add(compare_add, word);
		return 0;
	}
	guard(spinlock)(&dev->atomic_lock);
	*old = __raw_readq(piece.io);
	value = swap ? swap_val : *old + compare_add;
	if (!swap || *old == compare_add)
		__raw_writeq(value, piece.io);
	/* reads it back, so that it is there */
	(void)__raw_readq(piece.io);
	return 0;
}
