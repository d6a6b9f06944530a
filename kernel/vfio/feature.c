// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO_DEVICE_FEATURE: the standard DMA_BUF, which returns one of peerbar's buffers, and peerbar's
 * REVOKE, MEMATTR and MMAP_COOKIE.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/uaccess.h>

#include "vfio.h"

/* Create a buffer from a user's struct vfio_device_feature_dma_buf. */
static struct peerbar_buffer *peerbar_vfio_export(struct peerbar_vfio_device *device,
						  struct vfio_device_feature_dma_buf __user *arg,
						  size_t argsz, int open_flags, u32 memattr)
{
	if (READ_ONCE(device->gone)) {
		pci_dbg(device->core.pdev, "cannot export: the driver is being unbound\n");
		return ERR_PTR(-ENODEV);
	}
	if (!PEERBAR_OVERLAY)
		return peerbar_vfio_export_nop2p(device, arg, argsz, open_flags, memattr);
	return peerbar_vfio_export_overlay(device, arg, argsz, open_flags, memattr);
}

static int peerbar_feature_dma_buf(struct peerbar_vfio_device *device, u32 flags,
				   struct vfio_device_feature_dma_buf __user *arg, size_t argsz)
{
	struct peerbar_buffer *buf;
	u32 open_flags;
	int ret;

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET, sizeof(*arg));
	if (ret != 1)
		return ret;
	if (get_user(open_flags, &arg->open_flags))
		return -EFAULT;
	buf = peerbar_vfio_export(device, arg, argsz, open_flags, PEERBAR_MEMATTR_NC);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	ret = dma_buf_fd(buf->dmabuf, open_flags);
	if (ret < 0)
		dma_buf_put(buf->dmabuf);
	return ret;
}

/* The device's buffer of a descriptor, with a reference to its dma-buf. */
static struct peerbar_buffer *peerbar_get_own_buffer(struct peerbar_vfio_device *device, int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);
	struct peerbar_buffer *buf;

	if (IS_ERR(dmabuf))
		return ERR_CAST(dmabuf);
	buf = peerbar_buffer_of(dmabuf);
	if (buf && peerbar_vfio_owns_buffer(device, buf))
		return buf;
	pci_dbg(device->core.pdev,
		"dma-buf of %s: not exported by this device since it was opened\n",
		dmabuf->exp_name);
	dma_buf_put(dmabuf);
	return ERR_PTR(-ENODEV);
}

static int peerbar_feature_revoke(struct peerbar_vfio_device *device, u32 flags,
				  struct peerbar_vfio_revoke __user *arg, size_t argsz)
{
	struct peerbar_vfio_revoke revoke;
	struct peerbar_buffer *buf;
	int ret;

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_SET, sizeof(revoke));
	if (ret != 1)
		return ret;
	if (copy_from_user(&revoke, arg, sizeof(revoke)))
		return -EFAULT;
	buf = peerbar_get_own_buffer(device, revoke.dmabuf_fd);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	/* A drained buffer has nothing left to revoke. */
	if (peerbar_buffer_drained(buf)) {
		peerbar_dbg(buf, "cannot revoke: it is DEAD, and nothing reaches it");
		ret = -EBADFD;
	} else {
		ret = peerbar_buffer_kill(buf, true);
		/* A restarted call would fail with EBADFD if the buffer is drained by then. */
		if (ret == -ERESTARTSYS)
			ret = -EINTR;
	}
	dma_buf_put(buf->dmabuf);
	return ret;
}

static int peerbar_feature_memattr(struct peerbar_vfio_device *device, u32 flags,
				   struct peerbar_vfio_memattr __user *arg, size_t argsz)
{
	struct peerbar_vfio_memattr memattr;
	struct peerbar_buffer *buf;
	int ret;

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET,
				 sizeof(memattr));
	if (ret != 1)
		return ret;
	if (copy_from_user(&memattr, arg, sizeof(memattr)))
		return -EFAULT;
	buf = peerbar_get_own_buffer(device, memattr.dmabuf_fd);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	if (flags & VFIO_DEVICE_FEATURE_GET)
		ret = put_user(READ_ONCE(buf->memattr), &arg->memattr);
	else
		ret = peerbar_buffer_set_memattr(buf, memattr.memattr);
	dma_buf_put(buf->dmabuf);
	return ret;
}

static int peerbar_feature_mmap_cookie(struct peerbar_vfio_device *device, u32 flags,
				       struct peerbar_vfio_mmap_cookie __user *arg, size_t argsz)
{
	struct peerbar_vfio_mmap_cookie cookie;
	struct peerbar_buffer *buf;
	u64 offset;
	int ret;

	BUILD_BUG_ON(offsetof(struct peerbar_vfio_mmap_cookie, offset) !=
		     offsetof(struct vfio_device_feature_dma_buf, dma_ranges));

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET, sizeof(cookie));
	if (ret != 1)
		return ret;
	if (copy_from_user(&cookie, arg, sizeof(cookie)))
		return -EFAULT;
	if (cookie.open_flags || cookie.flags || cookie.reserved || cookie.nr_ranges != 1) {
		pci_dbg(device->core.pdev,
			"cannot make a cookie: open_flags %u, flags %u and reserved %u must be 0, nr_ranges %u must be 1\n",
			cookie.open_flags, cookie.flags, cookie.reserved, cookie.nr_ranges);
		return -EINVAL;
	}
	if (!peerbar_vfio_memattr_supported(NULL, cookie.memattr)) {
		pci_dbg(device->core.pdev,
			"cannot make a cookie: memory attribute 0x%x is not NC or WC, or disable_wc is set\n",
			cookie.memattr);
		return -EOPNOTSUPP;
	}
	buf = peerbar_vfio_export(device, (struct vfio_device_feature_dma_buf __user *)arg, argsz,
				  O_RDWR, cookie.memattr);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	if (buf->info.unmappable) {
		peerbar_dbg(buf, "cannot make a cookie: VFIO does not allow mmap of this BAR");
		ret = -EINVAL;
		goto err_put;
	}
	ret = peerbar_cookie_add(&device->cookies, buf, &offset);
	if (ret)
		goto err_put;
	if (put_user(offset, &arg->mmap_offset)) {
		ret = -EFAULT;
		goto err_del;
	}
	return 0;

err_del:
	peerbar_cookie_del(&device->cookies, buf);
err_put:
	dma_buf_put(buf->dmabuf);
	return ret;
}

int peerbar_vfio_feature(struct vfio_device *vdev, u32 flags, void __user *arg, size_t argsz)
{
	struct peerbar_vfio_device *device = to_peerbar_vfio(vdev);

	switch (flags & VFIO_DEVICE_FEATURE_MASK) {
	case VFIO_DEVICE_FEATURE_DMA_BUF:
		return peerbar_feature_dma_buf(device, flags, arg, argsz);
	case VFIO_DEVICE_FEATURE_PEERBAR_REVOKE:
		return peerbar_feature_revoke(device, flags, arg, argsz);
	case VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR:
		return peerbar_feature_memattr(device, flags, arg, argsz);
	case VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE:
		return peerbar_feature_mmap_cookie(device, flags, arg, argsz);
	default:
		return vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz);
	}
}
