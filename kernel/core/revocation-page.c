// SPDX-License-Identifier: GPL-2.0
/*
 * The page of /dev/peerbar that counts revocations, which processes map.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "core.h"

static struct page *peerbar_page; /* holds a struct peerbar_page */

void peerbar_note_revocation(void)
{
	struct peerbar_page *page = page_address(peerbar_page);

	BUILD_BUG_ON(sizeof(page->revocations) != sizeof(atomic64_t));
	/* Readers that see the new count must see the revocation. */
	smp_mb__before_atomic();
	atomic64_inc((atomic64_t *)&page->revocations);
}
EXPORT_SYMBOL_GPL(peerbar_note_revocation);

/* Read-only, now and after mprotect(). */
int peerbar_revocation_page_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff || vma_pages(vma) != 1) {
		pr_debug("cannot mmap %lu pages of /dev/peerbar at page %lu: it has one, at page 0\n",
			 vma_pages(vma), vma->vm_pgoff);
		return -EINVAL;
	}
	if (vma->vm_flags & (VM_WRITE | VM_EXEC)) {
		pr_debug("cannot mmap /dev/peerbar: the mapping must be PROT_READ only\n");
		return -EACCES;
	}
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE | VM_MAYEXEC);
	return vm_insert_page(vma, vma->vm_start, peerbar_page);
}

int __init peerbar_revocation_page_init(void)
{
	peerbar_page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return peerbar_page ? 0 : -ENOMEM;
}

void peerbar_revocation_page_exit(void)
{
	__free_page(peerbar_page);
}
