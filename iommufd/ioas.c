// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* I/O address spaces: creation, attached devices. */
#include "importer.h"
#include "uapi.h"

static int destroy_id(struct pb_iommu *iommu, uint32_t id)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	return pb_ioctl(iommu->fd, IOMMU_DESTROY, &destroy);
}

/* Allocate the structure of an address space, without an IOAS. */
static int new_ioas(struct pb_iommu *iommu, struct pb_ioas **ioas, struct pb_error *err)
{
	struct pb_ioas *new;
	int ret;

	new = calloc(1, sizeof(*new));
	if (!new)
		return pb_fail_errno(err, ENOMEM, "cannot create an address space");
	ret = pb_mapping_events_init(&new->events);
	if (ret) {
		ret = pb_fail_errno(err, -ret, "cannot create an address space (eventfd)");
		free(new);
		return ret;
	}
	new->iommu = pb_iommu_get(iommu);
	pthread_mutex_init(&new->lock, NULL);
	LIST_INIT(&new->mappings);
	LIST_INIT(&new->devices);
	pb_waitlist_init(&new->room);
	*ioas = new;
	return 0;
}

static void free_ioas(struct pb_ioas *ioas)
{
	pb_mapping_events_destroy(&ioas->events);
	pb_waitlist_destroy(&ioas->room);
	pthread_mutex_destroy(&ioas->lock);
	pb_iommu_close(ioas->iommu);
	free(ioas);
}

int pb_ioas_create(struct pb_iommu *iommu, struct pb_ioas **ioas, struct pb_error *err)
{
	struct pb_ioas *new;
	int ret;

	ret = new_ioas(iommu, &new, err);
	if (ret)
		return ret;
	ret = pb_ioas_alloc_id(iommu, &new->id);
	if (ret) {
		free_ioas(new);
		return pb_fail_errno(err, -ret,
				     "cannot create an address space (IOMMU_IOAS_ALLOC)");
	}
	*ioas = new;
	return 0;
}

int pb_ioas_from_id(struct pb_iommu *iommu, uint32_t id, struct pb_ioas **ioas,
		    struct pb_error *err)
{
	struct pb_ioas *new;
	int ret;

	ret = new_ioas(iommu, &new, err);
	if (ret)
		return ret;
	new->id = id;
	new->borrowed = true;
	/* This request fails for other kinds of objects. */
	ret = pb_ioas_aperture(new, NULL, 0, NULL, NULL, NULL);
	if (ret) {
		free_ioas(new);
		return pb_fail(err, ENOENT,
			       "the iommufd has no address space %u; pass the number "
			       "of one that IOMMU_IOAS_ALLOC made",
			       id);
	}
	*ioas = new;
	return 0;
}

uint32_t pb_ioas_id(const struct pb_ioas *ioas)
{
	return ioas->id;
}

void pb_ioas_destroy(struct pb_ioas *ioas)
{
	struct iommu_ioas_unmap all = { .size = sizeof(all), .length = UINT64_MAX };
	struct pb_mapping *mapping;
	struct pb_device *device;

	if (!ioas)
		return;
	all.ioas_id = ioas->id;
	while ((mapping = LIST_FIRST(&ioas->mappings))) {
		/* In the caller's address space, unmap only the mappings made here. */
		if (ioas->borrowed && !pb_unmap(mapping, NULL))
			continue;
		pb_mapping_free(mapping);
	}

	pthread_mutex_lock(&ioas->iommu->lock);
	while ((device = LIST_FIRST(&ioas->devices))) {
		struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

		if (!ioas->borrowed)
			pb_ioctl(device->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
		pb_device_leave_ioas(device);
	}
	pthread_mutex_unlock(&ioas->iommu->lock);

	/*
	 * Unmap first: the IOAS is not destroyed while another user of the iommufd has attached it.
	 */
	if (!ioas->borrowed) {
		pb_ioctl(ioas->iommu->fd, IOMMU_IOAS_UNMAP, &all);
		destroy_id(ioas->iommu, ioas->id);
	}
	if (ioas->scratch_id)
		destroy_id(ioas->iommu, ioas->scratch_id);
	free_ioas(ioas);
}

/* ---- devices ---- */

/*
 * The kernel moved the device to @ioas, together with the functions of its IOMMU group that were
 * attached to the same address space.
 */
static void move_device(struct pb_ioas *ioas, struct pb_device *device)
{
	struct pb_ioas *from = device->ioas;
	struct pb_device *d, *next;

	if (from == ioas)
		return;
	/* Addresses that the device reserved may be free now. */
	if (from)
		pb_waitlist_wake(&from->room, 0, UINT64_MAX);
	for (d = from ? LIST_FIRST(&from->devices) : NULL; d; d = next) {
		next = LIST_NEXT(d, in_ioas);
		if (d != device && (d->iommu_group < 0 || d->iommu_group != device->iommu_group))
			continue;
		LIST_REMOVE(d, in_ioas);
		if (d == device)
			continue;
		LIST_INSERT_HEAD(&ioas->devices, d, in_ioas);
		d->ioas = ioas;
		d->ioas_room = &ioas->room;
	}
	LIST_INSERT_HEAD(&ioas->devices, device, in_ioas);
	device->ioas = ioas;
	device->ioas_room = &ioas->room;
}

int pb_ioas_attach(struct pb_ioas *ioas, struct pb_device *device, struct pb_error *err)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach),
							.pt_id = ioas->id };
	int ret;

	if (device->iommu != ioas->iommu)
		return pb_fail(err, EXDEV,
			       "cannot attach %s to address space %u: they were made from different struct pb_iommu",
			       device->bdf, ioas->id);
	pthread_mutex_lock(&ioas->iommu->lock);
	ret = pb_ioctl(device->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
	if (!ret)
		move_device(ioas, device);
	pthread_mutex_unlock(&ioas->iommu->lock);
	if (ret == -EADDRINUSE)
		return pb_fail(err, EADDRINUSE,
			       "cannot attach %s to address space %u: a mapping lies at addresses that the device reserves, or "
			       "beyond those it can use; attach devices before mapping",
			       device->bdf, ioas->id);
	if (ret == -EINVAL)
		return pb_fail(err, EBUSY,
			       "cannot attach %s to address space %u: another function of its IOMMU group %d is attached to another "
			       "address space, and a group cannot be split",
			       device->bdf, ioas->id, device->iommu_group);
	if (ret == -EFAULT || ret == -ENOMEM)
		return pb_fail(err, -ret,
			       "cannot attach %s to address space %u: memory that is mapped there cannot be pinned: it is not there "
			       "any more, or is more than RLIMIT_MEMLOCK allows",
			       device->bdf, ioas->id);
	if (ret)
		return pb_fail_errno(err, -ret,
				     "cannot attach %s to address space %u (VFIO_DEVICE_ATTACH_IOMMUFD_PT)",
				     device->bdf, ioas->id);
	return 0;
}

int pb_ioas_detach(struct pb_device *device, struct pb_error *err)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };
	int ret = 0;

	pthread_mutex_lock(&device->iommu->lock);
	if (device->ioas) {
		ret = pb_ioctl(device->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
		if (!ret)
			pb_device_leave_ioas(device);
	}
	pthread_mutex_unlock(&device->iommu->lock);
	if (ret)
		return pb_fail_errno(err, -ret, "cannot detach %s (VFIO_DEVICE_DETACH_IOMMUFD_PT)",
				     device->bdf);
	return 0;
}

/* ---- events ---- */

int pb_ioas_event_fd(const struct pb_ioas *ioas)
{
	return ioas->events.fd;
}

struct pb_mapping *pb_ioas_next_revoked(struct pb_ioas *ioas)
{
	return pb_mapping_events_take(&ioas->events);
}
