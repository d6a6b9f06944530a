// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers in the address spaces of processes.
 *
 * Faults make page table entries under the reservation lock, and only while the buffer is entered.
 * A revocation zaps them under the same lock. So a task that sees REVOKED under the lock knows that
 * there are no entries.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "core.h"
#include "trace.h"

/* Offset in the buffer of an address. */
static u64 peerbar_get_offset(struct peerbar_buffer *buf, struct vm_area_struct *vma,
			      unsigned long addr)
{
	return (u64)(((addr - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff - buf->pgoff_base)
		<< PAGE_SHIFT;
}

static vm_fault_t peerbar_insert(struct vm_fault *vmf, unsigned long pfn, unsigned int order)
{
	if (!order)
		return vmf_insert_pfn(vmf->vma, vmf->address & PAGE_MASK, pfn);
	if (IS_ENABLED(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) && order == PMD_ORDER)
		return vmf_insert_pfn_pmd(vmf, pfn, false);
	if (IS_ENABLED(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP) && order == PUD_ORDER)
		return vmf_insert_pfn_pud(vmf, pfn, false);
	return VM_FAULT_FALLBACK;
}

/*
 * Write the entries of WC mappings here. vmf_insert_pfn() uses the memory type that the
 * architecture tracks for the address, not the VMA's: on x86, UC- for a BAR that VFIO has
 * ioremapped. That is right if one of two mappings is cached, which must not coexist with the
 * other. An uncached and a write-combining mapping may coexist. The entries are single pages, but a
 * fault makes all of its PMD's.
 */
struct peerbar_fill {
	struct mm_struct *mm;
	unsigned long pfn;
	pgprot_t prot;
};

static int peerbar_fill_pte(pte_t *pte, unsigned long addr, void *data)
{
	struct peerbar_fill *fill = data;

	if (pte_none(ptep_get(pte)))
		set_pte_at(fill->mm, addr, pte, pte_mkspecial(pfn_pte(fill->pfn, fill->prot)));
	fill->pfn++;
	return 0;
}

static vm_fault_t peerbar_insert_wc(struct vm_fault *vmf, struct peerbar_buffer *buf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address & PAGE_MASK;
	u64 offset = peerbar_get_offset(buf, vma, addr);
	const struct peerbar_range *range = peerbar_find_range(buf, offset);
	struct peerbar_fill fill = { .mm = vma->vm_mm, .prot = vma->vm_page_prot };
	unsigned long start, end;
	u64 before, after;

	if (!range)
		return VM_FAULT_SIGBUS;
	/* Limit the PMD to the VMA and to the range. */
	start = max(ALIGN_DOWN(addr, PMD_SIZE), vma->vm_start);
	end = min(ALIGN_DOWN(addr, PMD_SIZE) + PMD_SIZE, vma->vm_end);
	before = offset - range->offset;
	after = range->len - before;
	if (addr - start > before)
		start = addr - before;
	if (end - addr > after)
		end = addr + after;
	fill.pfn = PHYS_PFN(range->paddr + before) - ((addr - start) >> PAGE_SHIFT);
	if (apply_to_page_range(vma->vm_mm, start, end - start, peerbar_fill_pte, &fill))
		return VM_FAULT_OOM;
	return VM_FAULT_NOPAGE;
}

/*
 * Whether the fault may release its locks, wait, and be retried: also at a second attempt. Callers
 * that allow a retry repeat it until there is an entry.
 */
static bool peerbar_may_wait(struct vm_fault *vmf)
{
	return (vmf->flags & FAULT_FLAG_ALLOW_RETRY) && !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT);
}

/*
 * Sleep, then retry: the exporter is busy, with a reset for example. A fatal signal ends the sleep;
 * the process then dies on its way out of this fault, or at the start of the next. Return RETRY if
 * the caller can handle it: NOPAGE means to callers such as KVM that there is an entry.
 */
static vm_fault_t peerbar_retry_fault(struct peerbar_buffer *buf, struct vm_fault *vmf,
				      unsigned int order)
{
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		schedule_timeout_killable(1);
		return VM_FAULT_NOPAGE;
	}
	trace_peerbar_fault(buf, vmf, order, VM_FAULT_RETRY);
	if (!peerbar_may_wait(vmf))
		return VM_FAULT_RETRY;
	release_fault_lock(vmf);
	schedule_timeout_killable(1);
	return VM_FAULT_RETRY;
}

/*
 * Return 0 with the reservation lock held. Otherwise the attempt fails with RETRY, not NOPAGE: a
 * caller that faults on behalf of others, such as KVM, must know that there is no entry yet.
 */
static vm_fault_t peerbar_lock_for_fault(struct peerbar_buffer *buf, struct vm_fault *vmf,
					 unsigned int order)
{
	struct dma_buf *dmabuf = buf->dmabuf;

	if (dma_resv_trylock(dmabuf->resv))
		return 0;
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		/* The caller expects an entry, and cannot retry. */
		while (!dma_resv_trylock(dmabuf->resv)) {
			if (fatal_signal_pending(current))
				return VM_FAULT_SIGBUS;
			schedule_timeout_killable(1);
		}
		return 0;
	}
	trace_peerbar_fault(buf, vmf, order, VM_FAULT_RETRY);
	if (!peerbar_may_wait(vmf))
		return VM_FAULT_RETRY;
	get_dma_buf(dmabuf);
	release_fault_lock(vmf);
	/* Sleep after a signal too: a fault in the kernel is retried, and must not spin. */
	if (!dma_resv_lock_interruptible(dmabuf->resv, NULL))
		dma_resv_unlock(dmabuf->resv);
	else
		schedule_timeout_killable(1);
	dma_buf_put(dmabuf);
	return VM_FAULT_RETRY;
}

static vm_fault_t peerbar_try_fault(struct peerbar_buffer *buf, struct vm_fault *vmf,
				    unsigned int order, bool wc)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long size = PAGE_SIZE << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, size);
	unsigned long pfn;
	vm_fault_t fault;
	int ret;

	if (addr < vma->vm_start || vma->vm_end - addr < size)
		return VM_FAULT_FALLBACK;
	ret = buf->info.ops->prepare ? buf->info.ops->prepare(buf) : 0;
	if (ret) {
		peerbar_dbg(buf,
			    "cannot fault at offset 0x%llx: its exporter cannot prepare the memory: error %d",
			    peerbar_get_offset(buf, vma, addr), ret);
		return ret == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	}
	fault = peerbar_lock_for_fault(buf, vmf, order);
	if (fault)
		return fault;
	ret = peerbar_buffer_enter(buf);
	if (ret) {
		dma_resv_unlock(buf->dmabuf->resv);
		peerbar_dbg(buf,
			    "cannot fault at offset 0x%llx: the state is %s, not LIVE, or its exporter is busy: error %d",
			    peerbar_get_offset(buf, vma, addr), peerbar_state_name(buf), ret);
		if (ret == -EAGAIN)
			return peerbar_retry_fault(buf, vmf, order);
		return ret == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	}
	if (wc)
		fault = peerbar_insert_wc(vmf, buf);
	else if (peerbar_find_pfn(buf, peerbar_get_offset(buf, vma, addr), order, &pfn))
		fault = peerbar_insert(vmf, pfn, order);
	else
		fault = order ? VM_FAULT_FALLBACK : VM_FAULT_SIGBUS;
	peerbar_buffer_leave(buf);
	/*
	 * Pairs with the exchange in peerbar_buffer_mark_dead(): either its caller zaps the new
	 * entry, or this fault sees DEAD.
	 */
	smp_mb();
	if (READ_ONCE(buf->state) == PEERBAR_STATE_DEAD) {
		peerbar_dbg(buf, "cannot fault at offset 0x%llx: the state is DEAD",
			    peerbar_get_offset(buf, vma, addr));
		peerbar_buffer_zap(buf);
		fault = VM_FAULT_SIGBUS;
	}
	dma_resv_unlock(buf->dmabuf->resv);
	if (fault == VM_FAULT_NOPAGE)
		atomic64_inc(&buf->faults[!order ? 0 : order == PMD_ORDER ? 1 : 2]);
	return fault;
}

static vm_fault_t peerbar_handle_fault(struct vm_fault *vmf, unsigned int order, bool wc)
{
	struct peerbar_buffer *buf = vmf->vma->vm_private_data;
	vm_fault_t fault = peerbar_try_fault(buf, vmf, order, wc);

	/* A retry has released the VMA, and maybe the buffer: its event came before. */
	if (!(fault & VM_FAULT_RETRY))
		trace_peerbar_fault(buf, vmf, order, fault);
	return fault;
}

static vm_fault_t peerbar_fault(struct vm_fault *vmf)
{
	return peerbar_handle_fault(vmf, 0, false);
}

static vm_fault_t peerbar_fault_wc(struct vm_fault *vmf)
{
	return peerbar_handle_fault(vmf, 0, true);
}

#ifdef CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP
static vm_fault_t peerbar_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	return peerbar_handle_fault(vmf, order, false);
}
#endif

static void peerbar_vma_open(struct vm_area_struct *vma)
{
	struct peerbar_buffer *buf = vma->vm_private_data;

	atomic_inc(&buf->mmaps);
}

static void peerbar_vma_close(struct vm_area_struct *vma)
{
	struct peerbar_buffer *buf = vma->vm_private_data;

	atomic_dec(&buf->mmaps);
}

static const struct vm_operations_struct peerbar_vm_ops = {
	.open = peerbar_vma_open,
	.close = peerbar_vma_close,
	.fault = peerbar_fault,
#ifdef CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP
	.huge_fault = peerbar_huge_fault,
#endif
};

static const struct vm_operations_struct peerbar_vm_ops_wc = {
	.open = peerbar_vma_open,
	.close = peerbar_vma_close,
	.fault = peerbar_fault_wc,
};

int peerbar_buffer_mmap(struct peerbar_buffer *buf, struct vm_area_struct *vma)
{
	unsigned long pages = buf->dmabuf->size >> PAGE_SHIFT;
	u32 memattr = READ_ONCE(buf->memattr);

	if (buf->info.unmappable) {
		peerbar_dbg(buf, "cannot mmap: its exporter does not allow processes to map it");
		return -EINVAL;
	}
	/* Check VM_MAYSHARE: a shared mapping of a read-only descriptor lacks VM_SHARED. */
	if (!(vma->vm_flags & VM_MAYSHARE)) {
		peerbar_dbg(buf, "cannot mmap: the mapping must be MAP_SHARED");
		return -EINVAL;
	}
	if (vma->vm_pgoff < buf->pgoff_base || vma->vm_pgoff - buf->pgoff_base > pages ||
	    vma_pages(vma) > pages - (vma->vm_pgoff - buf->pgoff_base)) {
		peerbar_dbg(buf,
			    "cannot mmap %lu pages at page 0x%lx: it has %lu pages from page 0x%lx on",
			    vma_pages(vma), vma->vm_pgoff, pages, buf->pgoff_base);
		return -EINVAL;
	}
	/* DEAD is final. A REVOKED buffer may return to LIVE; until then, faults fail. */
	if (READ_ONCE(buf->state) == PEERBAR_STATE_DEAD) {
		peerbar_dbg(buf, "cannot mmap: the state is DEAD");
		return -ENODEV;
	}

	/* The exporter may have stopped supporting the attribute since it was set. */
	if (memattr != buf->info.memattr && buf->info.ops->memattr_supported &&
	    !buf->info.ops->memattr_supported(buf, memattr)) {
		peerbar_dbg(buf,
			    "cannot mmap: its exporter does not support memory attribute 0x%x any more",
			    memattr);
		return -EOPNOTSUPP;
	}
	switch (memattr) {
	case PEERBAR_MEMATTR_NC:
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
		break;
	case PEERBAR_MEMATTR_WC:
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
		break;
	case PEERBAR_MEMATTR_WB:
		break;
#ifdef CONFIG_ARM64
	case PEERBAR_MEMATTR_DEV:
		vma->vm_page_prot = pgprot_device(vma->vm_page_prot);
		break;
#endif
	default:
		peerbar_dbg(buf, "cannot mmap: memory attribute 0x%x is unknown", memattr);
		return -EOPNOTSUPP;
	}
	if (buf->info.mmio)
		vma->vm_page_prot = pgprot_decrypted(vma->vm_page_prot);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	if (buf->info.any_uncached)
		vm_flags_set(vma, VM_ALLOW_ANY_UNCACHED);
	vma->vm_private_data = buf;
	vma->vm_ops = memattr == PEERBAR_MEMATTR_WC ? &peerbar_vm_ops_wc : &peerbar_vm_ops;
	peerbar_vma_open(vma);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_mmap);

int peerbar_dma_buf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct peerbar_buffer *buf = dmabuf->priv;

	/* A cookie's buffer uses offsets of the device, and no process has its descriptor. */
	if (buf->pgoff_base) {
		peerbar_dbg(buf,
			    "cannot mmap: it belongs to a cookie; map the device at the cookie's offset");
		return -EINVAL;
	}
	return peerbar_buffer_mmap(buf, vma);
}
