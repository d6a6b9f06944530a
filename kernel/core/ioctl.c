// SPDX-License-Identifier: GPL-2.0
/*
 * ioctls of /dev/peerbar: queries of a process about the modules, and about dma-bufs that it holds.
 */
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "core.h"

/* Sizes of the first version: callers that use them must keep working when structures grow. */
#define PEERBAR_INFO_SIZE	offsetofend(struct peerbar_info, caps)
#define PEERBAR_QUERY_SIZE	offsetofend(struct peerbar_query, faults)

static unsigned long caps = PEERBAR_CAP_PAGE | (IS_ENABLED(CONFIG_PCI_P2PDMA) ? PEERBAR_CAP_P2PDMA : 0);

void peerbar_set_cap(u32 cap, bool there)
{
	assign_bit(ilog2(cap), &caps, there);
}
EXPORT_SYMBOL_GPL(peerbar_set_cap);

static int peerbar_ioctl_info(void __user *arg, u32 size)
{
	struct peerbar_info info;
	int ret;

	ret = copy_struct_from_user(&info, sizeof(info), arg, size);
	if (ret)
		return ret;
	if (info.flags)
		return -EINVAL;
	info.size = sizeof(info);
	info.abi = 1;
	info.caps = READ_ONCE(caps);
	return copy_to_user(arg, &info, min_t(size_t, size, sizeof(info))) ? -EFAULT : 0;
}

static int peerbar_fill_query(struct dma_buf *dmabuf, struct peerbar_query *query)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(dmabuf);
	struct dma_buf_attachment *attach;
	bool declared;
	unsigned int i;

	query->model = peerbar_dma_buf_model(dmabuf, &declared);
	query->flags = (declared ? PEERBAR_QUERY_DECLARED : 0) |
		       (dmabuf->ops->mmap && !(buf && buf->info.unmappable) ? PEERBAR_QUERY_MMAP : 0);
	query->length = dmabuf->size;
	query->inode = file_inode(dmabuf->file)->i_ino;
	strscpy(query->exporter, dmabuf->exp_name);
	scoped_guard(spinlock, &dmabuf->name_lock)
		if (dmabuf->name)
			strscpy(query->name, dmabuf->name);
	if (buf) {
		query->flags |= PEERBAR_QUERY_OURS;
		query->id = buf->id;
		query->state = peerbar_buffer_settle(buf);
		query->memattr = READ_ONCE(buf->memattr);
		query->nr_ranges = buf->info.nr_ranges;
		for (i = 0; i < ARRAY_SIZE(query->faults); i++)
			query->faults[i] = atomic64_read(&buf->faults[i]);
	}
	if (dma_resv_lock_interruptible(dmabuf->resv, NULL))
		return -ERESTARTSYS;
	list_for_each_entry(attach, &dmabuf->attachments, node)
		query->importers++;
	if (buf)
		query->revocations = buf->revocations;
	dma_resv_unlock(dmabuf->resv);
	return 0;
}

static int peerbar_ioctl_query(void __user *arg, u32 size)
{
	struct peerbar_query query;
	struct dma_buf *dmabuf;
	int fd, ret;

	ret = copy_struct_from_user(&query, sizeof(query), arg, size);
	if (ret)
		return ret;
	if (query.flags)
		return -EINVAL;
	fd = query.fd;
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	query = (struct peerbar_query){ .size = sizeof(query), .fd = fd };
	ret = peerbar_fill_query(dmabuf, &query);
	dma_buf_put(dmabuf);
	if (ret)
		return ret;
	return copy_to_user(arg, &query, min_t(size_t, size, sizeof(query))) ? -EFAULT : 0;
}

static long peerbar_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	u32 size;

	/* Structures grow at their end: use the size in the first field, not in the command. */
	if (_IOC_TYPE(cmd) != PEERBAR_IOC || _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE))
		return -ENOTTY;
	if (_IOC_NR(cmd) != _IOC_NR(PEERBAR_INFO) && _IOC_NR(cmd) != _IOC_NR(PEERBAR_QUERY))
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size > PAGE_SIZE)
		return -E2BIG;
	if (_IOC_NR(cmd) == _IOC_NR(PEERBAR_INFO))
		return size < PEERBAR_INFO_SIZE ? -EINVAL : peerbar_ioctl_info(user, size);
	return size < PEERBAR_QUERY_SIZE ? -EINVAL : peerbar_ioctl_query(user, size);
}

const struct file_operations peerbar_fops = {
	.owner = THIS_MODULE,
	.mmap = peerbar_revocation_page_mmap,
	.unlocked_ioctl = peerbar_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
