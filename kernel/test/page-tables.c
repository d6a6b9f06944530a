// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctl of the test importer that reads a process's page tables.
 */
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>

#include "importer.h"

static u32 test_cache(const struct follow_pfnmap_args *args)
{
#ifdef CONFIG_X86
	/* Huge entries have the cache mode in other bits. */
	pgprot_t prot = args->addr_mask == PAGE_MASK ? args->pgprot :
						       pgprot_large_2_4k(args->pgprot);
	unsigned long mode = pgprot_val(prot) & _PAGE_CACHE_MASK;

	if (mode == cachemode2protval(_PAGE_CACHE_MODE_WB))
		return PEERBAR_TEST_CACHE_WB;
	if (mode == cachemode2protval(_PAGE_CACHE_MODE_UC_MINUS) ||
	    mode == cachemode2protval(_PAGE_CACHE_MODE_UC))
		return PEERBAR_TEST_CACHE_NC;
	if (mode == cachemode2protval(_PAGE_CACHE_MODE_WC))
		return PEERBAR_TEST_CACHE_WC;
#elif defined(CONFIG_ARM64)
	switch (pgprot_val(args->pgprot) & PTE_ATTRINDX_MASK) {
	case PTE_ATTRINDX(MT_NORMAL):
	case PTE_ATTRINDX(MT_NORMAL_TAGGED):
		return PEERBAR_TEST_CACHE_WB;
	case PTE_ATTRINDX(MT_DEVICE_nGnRnE):
		return PEERBAR_TEST_CACHE_NC;
	case PTE_ATTRINDX(MT_DEVICE_nGnRE):
		return PEERBAR_TEST_CACHE_DEV;
	case PTE_ATTRINDX(MT_NORMAL_NC):
		return PEERBAR_TEST_CACHE_WC;
	}
#else
	/* On most architectures, these are the identity for a pgprot of that mode. */
	if (pgprot_val(pgprot_noncached(args->pgprot)) == pgprot_val(args->pgprot))
		return PEERBAR_TEST_CACHE_NC;
	if (pgprot_val(pgprot_writecombine(args->pgprot)) == pgprot_val(args->pgprot))
		return PEERBAR_TEST_CACHE_WC;
#endif
	return PEERBAR_TEST_CACHE_OTHER;
}

static int test_walk(struct mm_struct *mm, struct peerbar_test_pte *arg)
{
	struct follow_pfnmap_args args = { .address = arg->address };

	mmap_assert_locked(mm);
	args.vma = vma_lookup(mm, args.address);
	if (!args.vma)
		return -EFAULT;
	if (!(args.vma->vm_flags & (VM_IO | VM_PFNMAP)))
		return -EINVAL;
	if (follow_pfnmap_start(&args))
		return -ENOENT;
	arg->pfn = args.pfn;
	arg->size = ~args.addr_mask + 1;
	arg->writable = args.writable;
	arg->cache = test_cache(&args);
	arg->any_uncached = !!(args.vma->vm_flags & VM_ALLOW_ANY_UNCACHED);
	follow_pfnmap_end(&args);
	return 0;
}

static struct mm_struct *test_mm(pid_t nr)
{
	struct task_struct *task;
	struct mm_struct *mm;
	struct pid *pid;

	if (!nr)
		return get_task_mm(current);
	pid = find_get_pid(nr);
	task = get_pid_task(pid, PIDTYPE_PID);
	put_pid(pid);
	if (!task)
		return NULL;
	mm = get_task_mm(task);
	put_task_struct(task);
	return mm;
}

long test_ioctl_pte(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_pte *arg = argp;
	struct mm_struct *mm;
	int ret;

	if (arg->reserved || arg->pid < 0 || arg->address != (unsigned long)arg->address)
		return -EINVAL;
	mm = test_mm(arg->pid);
	if (!mm)
		return -ESRCH;
	ret = mmap_read_lock_killable(mm);
	if (!ret) {
		ret = test_walk(mm, arg);
		mmap_read_unlock(mm);
	}
	mmput(mm);
	return ret;
}
