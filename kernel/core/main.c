// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/peerbar: queries of a process about the dma-bufs that it holds.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#include "core.h"

/* Sizes of the first version: callers that use them must keep working when structures grow. */
#define PEERBAR_INFO_SIZE	offsetofend(struct peerbar_info, caps)
#define PEERBAR_QUERY_SIZE	offsetofend(struct peerbar_query, faults)

static unsigned long caps = PEERBAR_CAP_PAGE | (IS_ENABLED(CONFIG_PCI_P2PDMA) ? PEERBAR_CAP_P2PDMA : 0);
static struct page *peerbar_page; /* holds a struct peerbar_page */
struct workqueue_struct *peerbar_wq;

void peerbar_set_cap(u32 cap, bool there)
{
	assign_bit(ilog2(cap), &caps, there);
}
EXPORT_SYMBOL_GPL(peerbar_set_cap);

void peerbar_note_revocation(void)
{
	struct peerbar_page *page = page_address(peerbar_page);

	BUILD_BUG_ON(sizeof(page->revocations) != sizeof(atomic64_t));
	/* Readers that see the new count must see the revocation. */
	smp_mb__before_atomic();
	atomic64_inc((atomic64_t *)&page->revocations);
}
EXPORT_SYMBOL_GPL(peerbar_note_revocation);

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

/* Read-only, now and after mprotect(). */
static int peerbar_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff || vma_pages(vma) != 1)
		return -EINVAL;
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EACCES;
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE | VM_MAYEXEC);
	return vm_insert_page(vma, vma->vm_start, peerbar_page);
}

static const struct file_operations peerbar_fops = {
	.owner = THIS_MODULE,
	.mmap = peerbar_mmap,
	.unlocked_ioctl = peerbar_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* Accessible to all users: a process can query only dma-bufs that it holds. */
static struct miscdevice peerbar_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "peerbar",
	.fops = &peerbar_fops,
	.mode = 0666,
};

struct device *peerbar_probe_device(void)
{
	return peerbar_misc.this_device;
}

/*
 * The modules rely on more of dma-buf and vfio-pci-core than the compiler checks. All of them
 * depend on this one, so refuse an untested kernel here.
 */
static char newest_kernel[16] = "7.3";
module_param_string(newest_kernel, newest_kernel, sizeof(newest_kernel), 0444);
MODULE_PARM_DESC(newest_kernel, "Newest kernel to load on (default: 7.3, the newest tested)");

static int __init peerbar_check_kernel(void)
{
	unsigned int major, minor;

	if (sscanf(newest_kernel, "%u.%u", &major, &minor) != 2) {
		pr_err("newest_kernel: '%s' is not a version such as 7.3\n", newest_kernel);
		return -EINVAL;
	}
	if (major > LINUX_VERSION_MAJOR || (major == LINUX_VERSION_MAJOR && minor >= LINUX_VERSION_PATCHLEVEL))
		return 0;
	pr_err("cannot load on kernel %u.%u: it is newer than %u.%u and was not tested; load with newest_kernel=%u.%u to override\n",
	       LINUX_VERSION_MAJOR, LINUX_VERSION_PATCHLEVEL, major, minor, LINUX_VERSION_MAJOR, LINUX_VERSION_PATCHLEVEL);
	return -EOPNOTSUPP;
}

static int __init peerbar_init(void)
{
	int ret;

	ret = peerbar_check_kernel();
	if (ret)
		return ret;
	peerbar_page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!peerbar_page)
		return -ENOMEM;
	peerbar_wq = alloc_workqueue("peerbar", WQ_UNBOUND, 0);
	if (!peerbar_wq) {
		ret = -ENOMEM;
		goto err_page;
	}
	ret = peerbar_netlink_init();
	if (ret)
		goto err_wq;
	ret = misc_register(&peerbar_misc);
	if (ret)
		goto err_netlink;
	return 0;

err_netlink:
	peerbar_netlink_exit();
err_wq:
	destroy_workqueue(peerbar_wq);
err_page:
	__free_page(peerbar_page);
	return ret;
}

static void __exit peerbar_exit(void)
{
	misc_deregister(&peerbar_misc);
	/* Buffers and exporters are gone, but the worker that put the last one may still run. */
	destroy_workqueue(peerbar_wq);
	peerbar_netlink_exit();
	__free_page(peerbar_page);
}

module_init(peerbar_init);
module_exit(peerbar_exit);

MODULE_DESCRIPTION("Revocable dma-bufs, and the memory model of any dma-buf");
MODULE_AUTHOR("The peerbar authors");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
