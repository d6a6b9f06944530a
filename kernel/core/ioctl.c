// SPDX-License-Identifier: GPL-2.0
/*
 * ioctls of /dev/peerbar: queries of a process about the modules, and about dma-bufs that it holds.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "core.h"

/* Sizes of the first version: callers that use them must keep working when structures grow. */
#define PEERBAR_INFO_SIZE      offsetofend(struct peerbar_info, caps)
#define PEERBAR_QUERY_SIZE     offsetofend(struct peerbar_query, faults)
#define PEERBAR_IMPORTERS_SIZE offsetofend(struct peerbar_importers, now_ns)
#define PEERBAR_IMPORTER_SIZE  offsetofend(struct peerbar_importer, driver)
#define PEERBAR_FENCE_SIZE     offsetofend(struct peerbar_fence, timeline)
#define PEERBAR_BRIDGE_SIZE    offsetofend(struct peerbar_bridge, device)

static unsigned long caps = PEERBAR_CAP_PAGE | PEERBAR_CAP_IMPORTERS |
	(IS_ENABLED(CONFIG_PCI_P2PDMA) ? PEERBAR_CAP_P2PDMA : 0);

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
	if (info.flags) {
		pr_debug("ioctl: flags are 0x%x, and must be 0\n", info.flags);
		return -EINVAL;
	}
	info.size = sizeof(info);
	info.abi = 1;
	info.caps = READ_ONCE(caps);
	return copy_to_user(arg, &info, min_t(size_t, size, sizeof(info))) ? -EFAULT : 0;
}

static void peerbar_fill_facts(const struct peerbar_facts *facts, struct peerbar_query *query)
{
	query->model = facts->model;
	query->model_basis = facts->model_basis;
	query->state = facts->state;
	query->state_basis = facts->state_basis;
	query->can_pin = facts->can_pin;
	query->can_pin_basis = facts->can_pin_basis;
	query->can_revoke = facts->can_revoke;
	query->can_revoke_basis = facts->can_revoke_basis;
	query->place = facts->place;
	query->place_basis = facts->place_basis;
	query->bar = facts->bar;
	query->bar_offset = facts->bar_offset;
	strscpy(query->place_device, facts->device);
	if (facts->model_basis == PEERBAR_BASIS_DECLARED)
		query->flags |= PEERBAR_QUERY_DECLARED;
	if (facts->migrates)
		query->flags |= PEERBAR_QUERY_MIGRATES;
}

static int peerbar_fill_query(struct dma_buf *dmabuf, bool probe, struct peerbar_query *query)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(dmabuf);
	struct dma_buf_attachment *attach;
	struct peerbar_facts facts;
	unsigned int i;
	int ret;

	ret = peerbar_dma_buf_describe(dmabuf, probe, &facts);
	if (ret)
		return -ERESTARTSYS;
	peerbar_fill_facts(&facts, query);
	if (dmabuf->ops->mmap && !(buf && buf->info.unmappable))
		query->flags |= PEERBAR_QUERY_MMAP;
	query->length = dmabuf->size;
	query->inode = file_inode(dmabuf->file)->i_ino;
	strscpy(query->exporter, dmabuf->exp_name);
	if (dmabuf->owner)
		strscpy(query->driver, module_name(dmabuf->owner));
	scoped_guard(spinlock, &dmabuf->name_lock)
		if (dmabuf->name)
			strscpy(query->name, dmabuf->name);
	if (buf) {
		query->flags |= PEERBAR_QUERY_OURS;
		query->id = buf->id;
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
	bool probe;

	ret = copy_struct_from_user(&query, sizeof(query), arg, size);
	if (ret)
		return ret;
	if (query.flags & ~PEERBAR_QUERY_PROBE) {
		pr_debug("ioctl: flags are 0x%x, and may be 0x%x\n", query.flags,
			 PEERBAR_QUERY_PROBE);
		return -EINVAL;
	}
	probe = query.flags & PEERBAR_QUERY_PROBE;
	fd = query.fd;
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	query = (struct peerbar_query){ .size = sizeof(query), .fd = fd };
	ret = peerbar_fill_query(dmabuf, probe, &query);
	dma_buf_put(dmabuf);
	if (ret)
		return ret;
	return copy_to_user(arg, &query, min_t(size_t, size, sizeof(query))) ? -EFAULT : 0;
}

/* Check the size of the elements of a caller's array. */
static int peerbar_check_elements(u32 nr, u32 size, u32 first_size)
{
	if (!nr)
		return 0;
	if (size >= first_size && size <= PAGE_SIZE)
		return 0;
	pr_debug("ioctl: an element of an array has %u bytes, and must have %u to %lu\n", size,
		 first_size, PAGE_SIZE);
	return size < first_size ? -EINVAL : -E2BIG;
}

/* Copy @nr elements of @size bytes to an array of elements of @user_size bytes. */
static int peerbar_copy_elements(u64 addr, u32 user_size, const void *from, size_t size, u32 nr)
{
	size_t both = min_t(size_t, user_size, size);
	u32 i;

	for (i = 0; i < nr; i++) {
		void __user *to = u64_to_user_ptr(addr + (u64)i * user_size);

		if (copy_to_user(to, from + i * size, both) ||
		    clear_user(to + both, user_size - both))
			return -EFAULT;
	}
	return 0;
}

/* No lock is held while copying to the caller. */
static int peerbar_copy_list(const struct peerbar_list *list, struct peerbar_importers *arg)
{
	int ret;

	ret = peerbar_copy_elements(arg->importers, arg->importer_size, list->importers,
				    sizeof(*list->importers), list->filled_importers);
	if (ret)
		return ret;
	ret = peerbar_copy_elements(arg->fences, arg->fence_size, list->fences,
				    sizeof(*list->fences), list->filled_fences);
	if (ret)
		return ret;
	arg->state = list->state;
	arg->nr_importers = list->nr_importers;
	arg->nr_fences = list->nr_fences;
	arg->importer_size = sizeof(*list->importers);
	arg->fence_size = sizeof(*list->fences);
	arg->revoked_ns = list->revoked_ns;
	arg->now_ns = list->now_ns;
	return 0;
}

static int peerbar_ioctl_importers(void __user *user, u32 size)
{
	struct peerbar_importers arg;
	struct peerbar_buffer *buf;
	struct peerbar_list list;
	struct dma_buf *dmabuf;
	int ret;

	ret = copy_struct_from_user(&arg, sizeof(arg), user, size);
	if (ret)
		return ret;
	if (arg.flags) {
		pr_debug("ioctl: flags are 0x%x, and must be 0\n", arg.flags);
		return -EINVAL;
	}
	ret = peerbar_check_elements(arg.nr_importers, arg.importer_size, PEERBAR_IMPORTER_SIZE) ?:
		peerbar_check_elements(arg.nr_fences, arg.fence_size, PEERBAR_FENCE_SIZE);
	if (ret)
		return ret;
	dmabuf = dma_buf_get(arg.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	buf = peerbar_buffer_of(dmabuf);
	if (!buf) {
		pr_debug("ioctl: importers are known for peerbar's buffers only, not for a dma-buf of %s\n",
			 dmabuf->exp_name);
		ret = -EOPNOTSUPP;
		goto put;
	}
	ret = peerbar_list_importers(buf, min(arg.nr_importers, PEERBAR_IMPORTERS_MAX),
				     min(arg.nr_fences, PEERBAR_IMPORTERS_MAX), &list);
	if (!ret)
		ret = peerbar_copy_list(&list, &arg);
	peerbar_list_free(&list);
	arg.size = sizeof(arg);
	arg.id = buf->id;
put:
	dma_buf_put(dmabuf);
	if (ret)
		return ret;
	return copy_to_user(user, &arg, min_t(size_t, size, sizeof(arg))) ? -EFAULT : 0;
}

/* ---- bridges, which another module makes ---- */

static DEFINE_MUTEX(bridge_lock); /* a leaf */
static const struct peerbar_bridge_ops *bridge_ops;

void peerbar_bridge_set_ops(const struct peerbar_bridge_ops *ops)
{
	scoped_guard(mutex, &bridge_lock)
		bridge_ops = ops;
	peerbar_set_cap(PEERBAR_CAP_BRIDGE, ops);
}
EXPORT_SYMBOL_GPL(peerbar_bridge_set_ops);

static const struct peerbar_bridge_ops *peerbar_bridge_get_ops(void)
{
	guard(mutex)(&bridge_lock);
	return bridge_ops && try_module_get(bridge_ops->owner) ? bridge_ops : NULL;
}

static int peerbar_ioctl_bridge(void __user *user, u32 size)
{
	const struct peerbar_bridge_ops *ops = peerbar_bridge_get_ops();
	int ret;

	if (!ops) {
		pr_debug("ioctl: bridges need the module peerbar-iommufd, which is not loaded\n");
		return -EOPNOTSUPP;
	}
	ret = ops->bridge(user, size);
	module_put(ops->owner);
	return ret;
}

/* The ioctls by their numbers */
static const struct {
	u32 min_size;
	int (*run)(void __user *arg, u32 size);
} peerbar_ioctls[] = {
	[_IOC_NR(PEERBAR_INFO)] = { PEERBAR_INFO_SIZE, peerbar_ioctl_info },
	[_IOC_NR(PEERBAR_QUERY)] = { PEERBAR_QUERY_SIZE, peerbar_ioctl_query },
	[_IOC_NR(PEERBAR_IMPORTERS)] = { PEERBAR_IMPORTERS_SIZE, peerbar_ioctl_importers },
	[_IOC_NR(PEERBAR_BRIDGE)] = { PEERBAR_BRIDGE_SIZE, peerbar_ioctl_bridge },
};

static long peerbar_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	unsigned int nr;
	u32 size;

	/* Structures grow at their end: use the size in the first field, not in the command. */
	if (_IOC_TYPE(cmd) != PEERBAR_IOC || _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE))
		return -ENOTTY;
	if (_IOC_NR(cmd) >= ARRAY_SIZE(peerbar_ioctls))
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size > PAGE_SIZE) {
		pr_debug("ioctl %u: the structure has %u bytes, and may have %lu\n", _IOC_NR(cmd),
			 size, PAGE_SIZE);
		return -E2BIG;
	}
	nr = array_index_nospec(_IOC_NR(cmd), ARRAY_SIZE(peerbar_ioctls));
	if (size < peerbar_ioctls[nr].min_size) {
		pr_debug("ioctl %u: the structure has %u bytes, and must have %u\n", nr, size,
			 peerbar_ioctls[nr].min_size);
		return -EINVAL;
	}
	return peerbar_ioctls[nr].run(user, size);
}

const struct file_operations peerbar_fops = {
	.owner = THIS_MODULE,
	.mmap = peerbar_revocation_page_mmap,
	.unlocked_ioctl = peerbar_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
