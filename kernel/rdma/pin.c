// SPDX-License-Identifier: GPL-2.0
/*
 * Accounting of pinned dma-bufs. A pinned buffer keeps its place, in a GPU's memory for example, so
 * a user must not pin without limit. It counts as pinned memory of the process (VmPin), with its
 * whole size, since exporters pin buffers and not ranges, and once for each context. The limit is
 * RLIMIT_MEMLOCK, as for user memory.
 */
#include <linux/dma-buf.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "dmabuf.h"

/**
 * struct pbr_pin - a dma-buf that regions of a context pin
 * @dmabuf: the key in the context's pins; a region with a reference uses this
 * @mm: the process that is charged
 * @pages: size of the dma-buf
 * @users: number of regions, under the context's lock
 */
struct pbr_pin {
	struct dma_buf *dmabuf;
	struct mm_struct *mm;
	u64 pages;
	unsigned int users;
};

static int pbr_pin_add_pages(struct mm_struct *mm, u64 pages)
{
	u64 limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT, now;

	now = atomic64_add_return(pages, &mm->pinned_vm);
	if (now <= limit || capable(CAP_IPC_LOCK))
		return 0;
	atomic64_sub(pages, &mm->pinned_vm);
	return -ENOMEM;
}

static struct pbr_pin *pbr_pin_create(struct dma_buf *dmabuf)
{
	struct pbr_pin *pin;
	int ret;

	pin = kzalloc_obj(*pin, GFP_KERNEL_ACCOUNT);
	if (!pin)
		return ERR_PTR(-ENOMEM);
	pin->dmabuf = dmabuf;
	pin->pages = PAGE_ALIGN(dmabuf->size) >> PAGE_SHIFT;
	ret = pbr_pin_add_pages(current->mm, pin->pages);
	if (ret) {
		kfree(pin);
		return ERR_PTR(ret);
	}
	pin->mm = current->mm;
	mmgrab(pin->mm);
	return pin;
}

static void pbr_pin_destroy(struct pbr_pin *pin)
{
	atomic64_sub(pin->pages, &pin->mm->pinned_vm);
	mmdrop(pin->mm);
	kfree(pin);
}

struct pbr_pin *pbr_pin_charge(struct ib_ucontext *ctx, struct dma_buf *dmabuf)
{
	struct xarray *pins = &to_pbr_ucontext(ctx)->pins;
	unsigned long index = (unsigned long)dmabuf / L1_CACHE_BYTES;
	struct pbr_pin *pin;
	int ret;

	guard(mutex)(&to_pbr_ucontext(ctx)->pins_lock);
	pin = xa_load(pins, index);
	if (!pin) {
		pin = pbr_pin_create(dmabuf);
		if (IS_ERR(pin))
			return pin;
		ret = xa_err(xa_store(pins, index, pin, GFP_KERNEL_ACCOUNT));
		if (ret) {
			pbr_pin_destroy(pin);
			return ERR_PTR(ret);
		}
	}
	pin->users++;
	return pin;
}

void pbr_pin_uncharge(struct ib_ucontext *ctx, struct pbr_pin *pin)
{
	guard(mutex)(&to_pbr_ucontext(ctx)->pins_lock);
	if (--pin->users)
		return;
	xa_erase(&to_pbr_ucontext(ctx)->pins, (unsigned long)pin->dmabuf / L1_CACHE_BYTES);
	pbr_pin_destroy(pin);
}
