// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* VFIO devices: open and bind to an iommufd, regions, the command register, reset. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "internal.h"
#include "vfio-uapi.h"

/* ---- open and close ---- */

static int change_command(struct pb_device *device, uint16_t bits, bool on, struct pb_error *err);

static int read_regions(struct pb_device *device, struct pb_error *err)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	unsigned int i;
	int ret;

	ret = pb_ioctl(device->fd, VFIO_DEVICE_GET_INFO, &info);
	if (ret)
		return pb_fail_errno(err, -ret,
				     "cannot query the regions of %s "
				     "(VFIO_DEVICE_GET_INFO)",
				     device->bdf);
	device->flags = info.flags;
	device->nr_regions = info.num_regions < PB_MAX_REGIONS ? info.num_regions : PB_MAX_REGIONS;
	for (i = 0; i < device->nr_regions; i++) {
		struct vfio_region_info region = { .argsz = sizeof(region), .index = i };

		ret = pb_ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &region);
		/* This device does not have the region, for example VGA. */
		if (ret == -EINVAL)
			continue;
		if (ret)
			return pb_fail_errno(err, -ret,
					     "cannot query %s for region %u (VFIO_DEVICE_GET_REGION_INFO)",
					     device->bdf, i);
		device->regions[i].offset = region.offset;
		device->regions[i].size = region.size;
		device->regions[i].flags = region.flags;
	}
	return 0;
}

static int open_cdev(struct pb_device *device, const struct pb_pci_function *f,
		     struct pb_error *err)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind),
						 .iommufd = device->iommu->fd };
	int ret;

	if (!f->cdev[0]) {
		if (!f->driver[0])
			return pb_fail(err, ENXIO,
				       "cannot open %s: no driver is bound to it; bind it to vfio-pci ('peerbar bind %s')",
				       f->bdf, f->bdf);
		if (strstr(f->driver, "vfio"))
			return pb_fail(err, ENXIO,
				       "cannot open %s: %s has it, but the kernel has no VFIO character devices "
				       "(CONFIG_VFIO_DEVICE_CDEV)",
				       f->bdf, f->driver);
		return pb_fail(err, ENXIO,
			       "cannot open %s: the driver %s has it; bind it to vfio-pci ('peerbar bind %s')",
			       f->bdf, f->driver, f->bdf);
	}
	device->fd = open(f->cdev, O_RDWR | O_CLOEXEC);
	if (device->fd < 0) {
		if (errno == EBUSY)
			return pb_fail_in_use(err, f, "");
		return pb_fail_errno(err, errno, "cannot open %s of %s", f->cdev, f->bdf);
	}
	ret = pb_ioctl(device->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	if (ret) {
		/* Close first, so that pb_fail_in_use() does not find this descriptor. */
		close(device->fd);
		device->fd = -1;
		if (ret == -EBUSY || ret == -EINVAL)
			ret = pb_fail_in_use(err, f,
					     ret == -EINVAL ?
						     ", or its IOMMU does not keep caches coherent" :
						     "");
		else if (ret == -EPERM)
			ret = pb_fail(err, EPERM,
				      "cannot open %s: the machine does not remap "
				      "interrupts; turn interrupt remapping on, or set iommufd's "
				      "parameter allow_unsafe_interrupts",
				      f->bdf);
		else
			ret = pb_fail_errno(err, -ret,
					    "cannot bind %s to the iommufd (VFIO_DEVICE_BIND_IOMMUFD)",
					    f->bdf);
		return ret;
	}
	device->iommufd_id = bind.out_devid;
	return 0;
}

/* Find the capabilities that can revoke, and MSI-X, in VFIO's view of the configuration space. */
static void find_capabilities(struct pb_device *device)
{
	unsigned int left = 48; /* no more fit: a longer list has a loop */
	uint8_t at;

	if (pb_device_read(device, VFIO_PCI_CONFIG_REGION_INDEX, PCI_CAPABILITY_LIST, &at, 1, NULL))
		return;
	for (at &= 0xfc; at && left; left--) {
		uint8_t cap[2];

		if (pb_device_read(device, VFIO_PCI_CONFIG_REGION_INDEX, at, cap, sizeof(cap),
				   NULL))
			return;
		if (cap[0] == PCI_CAP_ID_PM)
			device->cap_pm = at;
		if (cap[0] == PCI_CAP_ID_EXP)
			device->cap_exp = at;
		if (cap[0] == PCI_CAP_ID_AF)
			device->cap_af = at;
		if (cap[0] == PCI_CAP_ID_MSIX)
			device->cap_msix = at;
		at = cap[1] & 0xfc;
	}
}

/* Make a device that is not open yet, and fill in @f from sysfs. */
static int new_device(struct pb_iommu *iommu, const char *bdf, struct pb_pci_function *f,
		      struct pb_device **device, struct pb_error *err)
{
	struct pb_device *new;
	int i, ret;

	ret = pb_pci_get(bdf, f, err);
	if (ret)
		return ret;
	new = calloc(1, sizeof(*new));
	if (!new)
		return pb_fail_errno(err, ENOMEM, "cannot open %s", f->bdf);
	memcpy(new->bdf, f->bdf, sizeof(new->bdf));
	new->iommu_group = f->iommu_group;
	for (i = 0; i < PB_BARS; i++)
		new->memory_bar[i] = f->bars[i].memory && f->bars[i].size;
	new->origin = pb_origin_new(f->bdf);
	if (!new->origin) {
		free(new);
		return pb_fail_errno(err, ENOMEM, "cannot open %s", f->bdf);
	}
	new->iommu = pb_iommu_get(iommu);
	new->fd = -1;
	pthread_mutex_init(&new->lock, NULL);
	*device = new;
	return 0;
}

static void free_device(struct pb_device *device)
{
	if (device->fd >= 0)
		close(device->fd);
	pb_origin_put(device->origin);
	pb_iommu_close(device->iommu);
	pthread_mutex_destroy(&device->lock);
	free(device);
}

int pb_device_open(struct pb_iommu *iommu, const char *bdf, struct pb_device **device,
		   struct pb_error *err)
{
	struct pb_pci_function f;
	struct pb_device *new;
	int ret;

	ret = new_device(iommu, bdf, &f, &new, err);
	if (ret)
		return ret;
	ret = open_cdev(new, &f, err);
	if (!ret)
		ret = read_regions(new, err);
	if (ret) {
		free_device(new);
		return ret;
	}
	find_capabilities(new);
	*device = new;
	return 0;
}

int pb_device_from_fd(struct pb_iommu *iommu, int fd, const char *bdf, struct pb_device **device,
		      struct pb_error *err)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct pb_pci_function f;
	struct pb_device *new;
	int ret;

	ret = new_device(iommu, bdf, &f, &new, err);
	if (ret)
		return ret;
	new->borrowed = true;
	new->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (new->fd < 0)
		ret = errno == EBADF ?
			pb_fail(err, EBADF,
				"descriptor %d is not open; pass one of "
				"%s that is bound to an iommufd",
				fd, f.bdf) :
			pb_fail_errno(err, errno, "cannot duplicate descriptor %d", fd);
	else if (pb_ioctl(new->fd, VFIO_DEVICE_GET_INFO, &info) ||
		 !(info.flags & VFIO_DEVICE_FLAGS_PCI))
		ret = pb_fail(err, EINVAL,
			      "descriptor %d is no PCI device of VFIO that is bound "
			      "to an iommufd; pass one of %s",
			      fd, f.bdf);
	else
		ret = read_regions(new, err);
	if (ret) {
		free_device(new);
		return ret;
	}
	find_capabilities(new);
	*device = new;
	return 0;
}

void pb_device_leave_ioas(struct pb_device *device)
{
	if (!device->ioas)
		return;
	LIST_REMOVE(device, in_ioas);
	pb_waitlist_wake(device->ioas_room, 0, UINT64_MAX);
	device->ioas = NULL;
	device->ioas_room = NULL;
}

void pb_device_close(struct pb_device *device)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };
	int fd;

	if (!device)
		return;
	if (device->borrowed) {
		pthread_mutex_lock(&device->iommu->lock);
		/* It remains attached, so there is nothing to wake waiters for. */
		if (device->ioas)
			LIST_REMOVE(device, in_ioas);
		pthread_mutex_unlock(&device->iommu->lock);
		free_device(device);
		return;
	}
	/*
	 * The kernel detaches and revokes when the last reference to the file is dropped. But a
	 * mapping of a region, or a child of fork(), may hold one, so do it explicitly.
	 */
	pthread_mutex_lock(&device->iommu->lock);
	if (device->ioas && !pb_ioctl(device->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
		pb_device_leave_ioas(device);
	pthread_mutex_unlock(&device->iommu->lock);
	change_command(device, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, false, NULL);
	/* pb_ioas_destroy() may detach meanwhile, and must not use the number of another file. */
	pthread_mutex_lock(&device->iommu->lock);
	fd = device->fd;
	device->fd = -1;
	pthread_mutex_unlock(&device->iommu->lock);
	close(fd);
	/* If the kernel refused to detach it, it was attached until here. */
	pthread_mutex_lock(&device->iommu->lock);
	pb_device_leave_ioas(device);
	pthread_mutex_unlock(&device->iommu->lock);
	/* Must be last: also revokes the mappings made until then. */
	pb_origin_revoke(device->origin);
	free_device(device);
}

const char *pb_device_bdf(const struct pb_device *device)
{
	return device->bdf;
}

int pb_device_fd(const struct pb_device *device)
{
	return device->fd;
}

/* ---- regions ---- */

unsigned int pb_device_regions(const struct pb_device *device)
{
	return device->nr_regions;
}

static int check_region(struct pb_device *device, unsigned int index, struct pb_error *err)
{
	if (index >= device->nr_regions)
		return pb_fail(err, EINVAL, "%s has no region %u; its regions are 0 to %u",
			       device->bdf, index, device->nr_regions - 1);
	return 0;
}

int pb_device_region_sized(struct pb_device *device, unsigned int index, struct pb_region *region,
			   size_t size, struct pb_error *err)
{
	struct pb_region found = { .index = index };
	uint32_t flags;
	int ret;

	ret = check_region(device, index, err);
	if (ret)
		return ret;
	flags = device->regions[index].flags;
	found.size = device->regions[index].size;
	found.readable = flags & VFIO_REGION_INFO_FLAG_READ;
	found.writable = flags & VFIO_REGION_INFO_FLAG_WRITE;
	found.mappable = flags & VFIO_REGION_INFO_FLAG_MMAP;
	pb_fill_sized(region, size, &found, sizeof(found));
	return 0;
}

static int check_span(struct pb_device *device, unsigned int region, uint64_t offset,
		      uint64_t length, struct pb_error *err)
{
	uint64_t size;
	int ret;

	ret = check_region(device, region, err);
	if (ret)
		return ret;
	size = device->regions[region].size;
	if (!size)
		return pb_fail(err, EINVAL, "%s has no region %u", device->bdf, region);
	if (offset > size || length > size - offset)
		return pb_fail(err, ERANGE,
			       "0x%" PRIx64 " bytes at 0x%" PRIx64
			       " are not all inside region %u of %s, whose size is 0x%" PRIx64,
			       length, offset, region, device->bdf, size);
	return 0;
}

int pb_device_read(struct pb_device *device, unsigned int region, uint64_t offset, void *data,
		   size_t length, struct pb_error *err)
{
	char *p = data;
	int ret;

	ret = check_span(device, region, offset, length, err);
	if (ret)
		return ret;
	while (length) {
		ssize_t n = pread(device->fd, p, length,
				  (off_t)(device->regions[region].offset + offset));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return pb_fail_errno(err, n ? errno : EIO,
					     "cannot read 0x%zx bytes at 0x%" PRIx64
					     " of region %u of %s",
					     length, offset, region, device->bdf);
		p += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

static int write_region(struct pb_device *device, unsigned int region, uint64_t offset,
			const void *data, size_t length, struct pb_error *err)
{
	const char *p = data;

	while (length) {
		ssize_t n = pwrite(device->fd, p, length,
				   (off_t)(device->regions[region].offset + offset));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return pb_fail_errno(err, n ? errno : EIO,
					     "cannot write 0x%zx bytes at 0x%" PRIx64
					     " of region %u of %s",
					     length, offset, region, device->bdf);
		p += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

/* Returns the byte at @at if the write of @length bytes at @offset includes it, otherwise -1. */
static int get_written_byte(uint64_t at, uint64_t offset, const void *data, size_t length)
{
	return at >= offset && at - offset < length ? ((const uint8_t *)data)[at - offset] : -1;
}

/*
 * Returns whether a write to the configuration space makes the kernel revoke: decoding off, D3hot,
 * a function level reset.
 */
static bool write_revokes(const struct pb_device *device, uint64_t offset, const void *data,
			  size_t length)
{
	int byte;

	byte = get_written_byte(PCI_COMMAND, offset, data, length);
	if (byte >= 0 && !(byte & PCI_COMMAND_MEMORY))
		return true;
	byte = device->cap_pm ?
		get_written_byte(device->cap_pm + PCI_PM_CTRL, offset, data, length) :
		-1;
	if (byte >= 0 && (byte & PCI_PM_CTRL_STATE_MASK) == 3)
		return true;
	byte = device->cap_exp ?
		get_written_byte(device->cap_exp + PCI_EXP_DEVCTL + 1, offset, data, length) :
		-1;
	if (byte >= 0 && (byte & PCI_EXP_DEVCTL_BCR_FLR >> 8))
		return true;
	byte = device->cap_af ?
		get_written_byte(device->cap_af + PCI_AF_CTRL, offset, data, length) :
		-1;
	return byte >= 0 && (byte & PCI_AF_CTRL_FLR);
}

/*
 * Returns whether buffers may become usable by the write: decoding on, D0, or a reset that revokes
 * and restores.
 */
static bool write_restores(const struct pb_device *device, uint64_t offset, const void *data,
			   size_t length)
{
	int byte;

	byte = get_written_byte(PCI_COMMAND, offset, data, length);
	if (byte >= 0)
		return byte & PCI_COMMAND_MEMORY;
	byte = device->cap_pm ?
		get_written_byte(device->cap_pm + PCI_PM_CTRL, offset, data, length) :
		-1;
	if (byte >= 0)
		return (byte & PCI_PM_CTRL_STATE_MASK) != 3;
	return write_revokes(device, offset, data, length);
}

/*
 * Must hold the device's lock: it orders register accesses, and each write before its revocation.
 */
static int write_config(struct pb_device *device, uint64_t offset, const void *data, size_t length,
			struct pb_error *err)
{
	int ret;

	ret = write_region(device, VFIO_PCI_CONFIG_REGION_INDEX, offset, data, length, err);
	if (!ret && write_revokes(device, offset, data, length))
		pb_origin_revoke(device->origin);
	if (!ret && write_restores(device, offset, data, length))
		pb_waitlist_wake(&device->origin->restored, 0, UINT64_MAX);
	return ret;
}

int pb_device_write(struct pb_device *device, unsigned int region, uint64_t offset,
		    const void *data, size_t length, struct pb_error *err)
{
	int ret;

	ret = check_span(device, region, offset, length, err);
	if (ret || region != VFIO_PCI_CONFIG_REGION_INDEX)
		return ret ? ret : write_region(device, region, offset, data, length, err);
	pthread_mutex_lock(&device->lock);
	ret = write_config(device, offset, data, length, err);
	pthread_mutex_unlock(&device->lock);
	return ret;
}

int pb_device_mmap(struct pb_device *device, unsigned int region, uint64_t offset, size_t length,
		   bool writable, void **address, struct pb_error *err)
{
	int ret;

	ret = check_span(device, region, offset, length, err);
	if (ret)
		return ret;
	if (!length || !pb_aligned(offset, pb_page_size()))
		return pb_fail(err, EINVAL,
			       "cannot map 0x%zx bytes at 0x%" PRIx64
			       " of region %u of %s: the offset must be a multiple of the page "
			       "size, 0x%" PRIx64 ", and the length not 0",
			       length, offset, region, device->bdf, pb_page_size());
	if (!(device->regions[region].flags & VFIO_REGION_INFO_FLAG_MMAP))
		return pb_fail(err, EOPNOTSUPP,
			       "region %u of %s cannot be mapped; pb_device_read() and pb_device_write() reach it",
			       region, device->bdf);
	ret = pb_mmap(device->fd, device->regions[region].offset + offset, length, writable, offset,
		      address);
	if (ret)
		return pb_fail_errno(err, -ret,
				     "cannot map 0x%zx bytes at 0x%" PRIx64 " of region %u of %s",
				     length, offset, region, device->bdf);
	return 0;
}

/* ---- the command register, and reset ---- */

static int get_command(struct pb_device *device, uint16_t *command, struct pb_error *err)
{
	uint8_t le[2];
	int ret;

	ret = pb_device_read(device, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, le, sizeof(le),
			     NULL);
	if (ret)
		return pb_fail_errno(err, -ret, "cannot read the command register of %s",
				     device->bdf);
	*command = (uint16_t)(le[0] | le[1] << 8);
	return 0;
}

static int change_command(struct pb_device *device, uint16_t bits, bool on, struct pb_error *err)
{
	uint16_t command = 0;
	uint8_t le[2];
	int ret;

	pthread_mutex_lock(&device->lock);
	ret = get_command(device, &command, err);
	if (!ret) {
		/*
		 * Write even if the register does not change: decoding may be on although it reads
		 * as off, as on a virtual function.
		 */
		command = on ? command | bits : command & (uint16_t)~bits;
		le[0] = command & 0xff;
		le[1] = command >> 8;
		ret = write_config(device, PCI_COMMAND, le, sizeof(le), NULL);
		if (ret)
			ret = pb_fail_errno(err, -ret, "cannot write the command register of %s",
					    device->bdf);
	}
	pthread_mutex_unlock(&device->lock);
	return ret;
}

int pb_device_set_decoding(struct pb_device *device, bool on, struct pb_error *err)
{
	return change_command(device, PCI_COMMAND_MEMORY, on, err);
}

int pb_device_decoding(struct pb_device *device, bool *on, struct pb_error *err)
{
	uint16_t command = 0;
	int ret;

	ret = get_command(device, &command, err);
	if (!ret)
		*on = command & PCI_COMMAND_MEMORY;
	return ret;
}

int pb_device_set_bus_master(struct pb_device *device, bool on, struct pb_error *err)
{
	return change_command(device, PCI_COMMAND_MASTER, on, err);
}

int pb_device_reset(struct pb_device *device, struct pb_error *err)
{
	int ret;

	if (!(device->flags & VFIO_DEVICE_FLAGS_RESET))
		return pb_fail(err, EOPNOTSUPP,
			       "%s cannot be reset: the kernel knows no reset for this function alone",
			       device->bdf);
	pthread_mutex_lock(&device->lock);
	ret = pb_ioctl(device->fd, VFIO_DEVICE_RESET, NULL);
	/* The kernel revoked, even if the reset failed. */
	pb_origin_revoke(device->origin);
	pb_waitlist_wake(&device->origin->restored, 0, UINT64_MAX);
	pthread_mutex_unlock(&device->lock);
	if (ret)
		return pb_fail_errno(err, -ret, "cannot reset %s (VFIO_DEVICE_RESET)", device->bdf);
	return 0;
}
