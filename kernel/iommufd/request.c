// SPDX-License-Identifier: GPL-2.0
/*
 * PEERBAR_BRIDGE: the request of a process that holds a dma-buf and an iommufd.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-buf.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "iommufd.h"

static const char *const peerbar_reasons[] = {
	[PEERBAR_BRIDGE_WHY_OTHER] = "none of the known reasons",
	[PEERBAR_BRIDGE_WHY_NO_FUNCTION] = "no PCI function is bound to the iommufd",
	[PEERBAR_BRIDGE_WHY_NOT_BOUND] = "the function is not bound to the iommufd",
	[PEERBAR_BRIDGE_WHY_NO_IOMMU] = "no IOMMU translates the function's DMA",
	[PEERBAR_BRIDGE_WHY_READ_ONLY] = "the descriptor is read-only",
	[PEERBAR_BRIDGE_WHY_ATTACH] = "its exporter refuses to attach",
	[PEERBAR_BRIDGE_WHY_PIN] = "its exporter refuses to pin",
	[PEERBAR_BRIDGE_WHY_MAP] = "its exporter refuses to map",
	[PEERBAR_BRIDGE_WHY_EXPORTER_P2P] = "its exporter finds no path for P2P",
	[PEERBAR_BRIDGE_WHY_P2P] = "there is no path for P2P",
	[PEERBAR_BRIDGE_WHY_SYSTEM_MEMORY] = "it is in system memory",
	[PEERBAR_BRIDGE_WHY_NOT_BAR] = "it is in no BAR",
	[PEERBAR_BRIDGE_WHY_OTHER_DEVICE] = "it is in BARs of several functions",
	[PEERBAR_BRIDGE_WHY_UNALIGNED] = "a range is not page-aligned",
	[PEERBAR_BRIDGE_WHY_TOO_SHORT] = "its exporter maps too little",
	[PEERBAR_BRIDGE_WHY_MEMLOCK] = "RLIMIT_MEMLOCK",
	[PEERBAR_BRIDGE_WHY_MOVING] = "it moves all the time",
};

static void peerbar_close_fds(struct peerbar_bridge_range *ranges, unsigned int nr)
{
	while (nr--)
		put_unused_fd(ranges[nr].fd);
	kvfree(ranges);
}

/* Reserve a descriptor for each buffer. */
static struct peerbar_bridge_range *peerbar_reserve_fds(struct peerbar_buffer **bufs,
							unsigned int nr)
{
	struct peerbar_bridge_range *ranges;
	unsigned int i;
	int fd;

	ranges = kvcalloc(nr, sizeof(*ranges), GFP_KERNEL_ACCOUNT);
	if (!ranges)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < nr; i++) {
		fd = get_unused_fd_flags(O_CLOEXEC);
		if (fd < 0) {
			peerbar_close_fds(ranges, i);
			return ERR_PTR(fd);
		}
		ranges[i].fd = fd;
		ranges[i].length = bufs[i]->dmabuf->size;
	}
	return ranges;
}

/* Return the buffers and the request to user space. No other task sees a descriptor before that. */
static int peerbar_install(struct peerbar_buffer **bufs, struct peerbar_bridge *request,
			   void __user *user, u32 size)
{
	unsigned int i, nr = request->nr_ranges;
	struct peerbar_bridge_range *ranges;

	ranges = peerbar_reserve_fds(bufs, nr);
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	if (copy_to_user(u64_to_user_ptr(request->ranges), ranges,
			 array_size(nr, sizeof(*ranges))) ||
	    copy_to_user(user, request, min_t(size_t, size, sizeof(*request)))) {
		peerbar_close_fds(ranges, nr);
		return -EFAULT;
	}
	for (i = 0; i < nr; i++)
		fd_install(ranges[i].fd, bufs[i]->dmabuf->file);
	kvfree(ranges);
	return 0;
}

static int peerbar_run(struct dma_buf *dmabuf, struct peerbar_functions *functions,
		       struct peerbar_bridge *request, void __user *user, u32 size)
{
	struct peerbar_buffer **bufs;
	unsigned int i;
	int ret;

	/* iommufd maps for writing on request, whatever the mode of the descriptor. */
	if (!(dmabuf->file->f_mode & FMODE_WRITE))
		return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_READ_ONLY, -EACCES);
	ret = peerbar_functions_get(functions, request);
	if (ret)
		return ret;
	bufs = peerbar_import(dmabuf, functions, request);
	if (IS_ERR(bufs))
		return PTR_ERR(bufs);
	ret = peerbar_install(bufs, request, user, size);
	for (i = 0; ret && i < request->nr_ranges; i++)
		dma_buf_put(bufs[i]->dmabuf);
	kvfree(bufs);
	return ret;
}

static int peerbar_bridge(void __user *user, u32 size)
{
	struct peerbar_functions *functions __free(kfree) = NULL;
	struct peerbar_bridge request;
	struct dma_buf *dmabuf;
	int ret;

	ret = copy_struct_from_user(&request, sizeof(request), user, size);
	if (ret)
		return ret;
	if (request.flags & ~PEERBAR_BRIDGE_UNPINNED) {
		pr_debug("bridge: flags are 0x%x, and only UNPINNED is known\n", request.flags);
		return -EINVAL;
	}
	dmabuf = dma_buf_get(request.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	request.size = sizeof(request);
	request.reason = PEERBAR_BRIDGE_WHY_OTHER;
	request.exporter_errno = 0;
	request.offset = 0;
	memset(request.function, 0, sizeof(request.function));
	memset(request.device, 0, sizeof(request.device));
	functions = kzalloc_obj(*functions, GFP_KERNEL_ACCOUNT);
	ret = functions ? peerbar_run(dmabuf, functions, &request, user, size) : -ENOMEM;
	if (functions)
		peerbar_functions_put(functions);
	/* A request that was interrupted is made again, with the fields for input. */
	if (ret && ret != -ERESTARTSYS && ret != -EINTR) {
		pr_debug("cannot bridge a dma-buf of %s for %s at offset 0x%llx: %s; error %d, its exporter's %u\n",
			 dmabuf->exp_name, request.function, request.offset,
			 peerbar_reasons[request.reason], ret, request.exporter_errno);
		if (copy_to_user(user, &request, min_t(size_t, size, sizeof(request))))
			ret = -EFAULT;
	}
	dma_buf_put(dmabuf);
	return ret;
}

const struct peerbar_bridge_ops peerbar_iommufd_bridge_ops = {
	.owner = THIS_MODULE,
	.bridge = peerbar_bridge,
};
