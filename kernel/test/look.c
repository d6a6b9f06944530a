// SPDX-License-Identifier: GPL-2.0
/*
 * ioctls of the test importer that query the core about a dma-buf, or read page tables; and a mark
 * that makes the BARs of a device unmappable.
 */
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/string.h>

#include "importer.h"

/* ---- queries to the core ---- */

static int test_flatten(struct peerbar_test_chunks *arg, const struct peerbar_chunk *chunks, size_t nr_chunks)
{
	unsigned int i, j, n = 0;

	if (nr_chunks > PEERBAR_TEST_CHUNKS_MAX)
		return -EOVERFLOW;
	for (i = 0; i < nr_chunks; i++) {
		if (chunks[i].nr_addrs > PEERBAR_TEST_ADDRS_MAX - n)
			return -EOVERFLOW;
		arg->chunks[i].has_provider = !!chunks[i].provider;
		arg->chunks[i].nr_addrs = chunks[i].nr_addrs;
		for (j = 0; j < chunks[i].nr_addrs; j++, n++) {
			arg->addrs[n].addr = chunks[i].addrs[j].paddr;
			arg->addrs[n].len = chunks[i].addrs[j].len;
		}
	}
	arg->nr_chunks = nr_chunks;
	arg->nr_addrs = n;
	return 0;
}

long test_ioctl_chunks(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_chunks *arg = argp;
	struct test_import *p __free(test_import_put) = test_import_get(priv, arg->handle);
	struct peerbar_chunk *chunks;
	size_t nr_chunks;
	int ret;

	if (!p)
		return -ENOENT;
	if (arg->reserved)
		return -EINVAL;
	memset(arg->chunks, 0, sizeof(arg->chunks));
	memset(arg->addrs, 0, sizeof(arg->addrs));
	ret = test_import_lock(p);
	if (ret)
		return ret;
	ret = peerbar_dma_buf_get_chunks(p->attach, &chunks, &nr_chunks);
	if (!ret) {
		ret = test_flatten(arg, chunks, nr_chunks);
		peerbar_chunks_free(chunks, nr_chunks);
	}
	test_import_unlock(p);
	return ret;
}

long test_ioctl_pfn(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_pfn *arg = argp;
	struct test_import *p __free(test_import_put) = test_import_get(priv, arg->handle);
	unsigned long pfn;
	unsigned int order;
	int ret;

	if (!p)
		return -ENOENT;
	if (arg->reserved)
		return -EINVAL;
	ret = test_import_lock(p);
	if (ret)
		return ret;
	ret = peerbar_dma_buf_get_pfn(p->attach, arg->offset, arg->max_order, &pfn, &order);
	if (!ret) {
		arg->pfn = pfn;
		arg->order = order;
	}
	test_import_unlock(p);
	return ret;
}

long test_ioctl_model(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_model *arg = argp;
	struct dma_buf *dmabuf;
	bool declared;

	if (arg->reserved)
		return -EINVAL;
	dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	arg->model = peerbar_dma_buf_model(dmabuf, &declared);
	arg->declared = declared;
	dma_buf_put(dmabuf);
	return 0;
}

/* ---- page tables ---- */

static u32 test_cache(const struct follow_pfnmap_args *args)
{
#ifdef CONFIG_X86
	/* Huge entries have the cache mode in other bits. */
	pgprot_t prot = args->addr_mask == PAGE_MASK ? args->pgprot : pgprot_large_2_4k(args->pgprot);
	unsigned long mode = pgprot_val(prot) & _PAGE_CACHE_MASK;

	if (mode == cachemode2protval(_PAGE_CACHE_MODE_WB))
		return PEERBAR_TEST_CACHE_WB;
	if (mode == cachemode2protval(_PAGE_CACHE_MODE_UC_MINUS) || mode == cachemode2protval(_PAGE_CACHE_MODE_UC))
		return PEERBAR_TEST_CACHE_NC;
	if (mode == cachemode2protval(_PAGE_CACHE_MODE_WC))
		return PEERBAR_TEST_CACHE_WC;
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

/* ---- devices ---- */

long test_ioctl_unmappable(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_unmappable *arg = argp;
	struct device *dev;

	if (arg->unmappable > 1 || strnlen(arg->device, sizeof(arg->device)) == sizeof(arg->device))
		return -EINVAL;
	dev = bus_find_device_by_name(&pci_bus_type, NULL, arg->device);
	if (!dev)
		return -ENODEV;
	device_lock(dev);
	to_pci_dev(dev)->non_mappable_bars = arg->unmappable;
	device_unlock(dev);
	put_device(dev);
	return 0;
}
