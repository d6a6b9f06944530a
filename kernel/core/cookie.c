// SPDX-License-Identifier: GPL-2.0
/*
 * mmap cookies: opaque file offsets, each allocated for one buffer.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/random.h>

#include "core.h"

void peerbar_cookies_init(struct peerbar_cookies *cookies, unsigned long first, unsigned long last)
{
	mutex_init(&cookies->lock);
	mt_init_flags(&cookies->tree, MT_FLAGS_ALLOC_RANGE);
	cookies->nr = 0;
	cookies->first = first;
	cookies->last = last;
}
EXPORT_SYMBOL_GPL(peerbar_cookies_init);

int peerbar_cookie_add(struct peerbar_cookies *cookies, struct peerbar_buffer *buf, u64 *offset)
{
	unsigned long pages = buf->dmabuf->size >> PAGE_SHIFT;
	unsigned long pgoff, from;
	int ret;

	guard(mutex)(&cookies->lock);
	if (pages > cookies->last - cookies->first || cookies->nr >= PEERBAR_COOKIES_MAX) {
		peerbar_dbg(buf,
			    "cannot make a cookie of %lu pages: the device has %u of %u cookies, and %lu pages for all",
			    pages, cookies->nr, PEERBAR_COOKIES_MAX,
			    cookies->last - cookies->first);
		return -EBUSY;
	}
	/* Randomize, so that user space cannot rely on offsets. If no room follows, wrap. */
	from = cookies->first +
		(unsigned long)get_random_u64() % (cookies->last - cookies->first - pages + 1);
	ret = mtree_alloc_range(&cookies->tree, &pgoff, buf, pages, from, cookies->last,
				GFP_KERNEL_ACCOUNT);
	if (ret == -EBUSY)
		ret = mtree_alloc_range(&cookies->tree, &pgoff, buf, pages, cookies->first,
					cookies->last, GFP_KERNEL_ACCOUNT);
	if (ret) {
		peerbar_dbg(buf,
			    "cannot make a cookie of %lu pages: no such range of offsets is free: error %d",
			    pages, ret);
		return ret;
	}
	buf->pgoff_base = pgoff;
	cookies->nr++;
	*offset = (u64)pgoff << PAGE_SHIFT;
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_cookie_add);

void peerbar_cookie_del(struct peerbar_cookies *cookies, struct peerbar_buffer *buf)
{
	guard(mutex)(&cookies->lock);
	mtree_erase(&cookies->tree, buf->pgoff_base);
	cookies->nr--;
}
EXPORT_SYMBOL_GPL(peerbar_cookie_del);

int peerbar_cookie_mmap(struct peerbar_cookies *cookies, struct vm_area_struct *vma)
{
	struct peerbar_buffer *buf;

	scoped_guard(mutex, &cookies->lock) {
		buf = mtree_load(&cookies->tree, vma->vm_pgoff);
		if (!buf)
			return -ENOENT;
		/* Hold the file until the VMA has its own reference. */
		get_dma_buf(buf->dmabuf);
	}
	vma_set_file(vma, buf->dmabuf->file);
	dma_buf_put(buf->dmabuf);
	return peerbar_buffer_mmap(buf, vma);
}
EXPORT_SYMBOL_GPL(peerbar_cookie_mmap);

void peerbar_cookies_destroy(struct peerbar_cookies *cookies)
{
	struct peerbar_buffer *buf;
	unsigned long index = 0;

	mt_for_each(&cookies->tree, buf, index, ULONG_MAX)
		dma_buf_put(buf->dmabuf);
	mtree_destroy(&cookies->tree);
	mutex_destroy(&cookies->lock);
}
EXPORT_SYMBOL_GPL(peerbar_cookies_destroy);
