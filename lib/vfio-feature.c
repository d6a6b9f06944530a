// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The features of peerbar-vfio-pci: memory attributes, permanent revocation, cookies. */
#include <inttypes.h>

#include "internal.h"
#include "vfio-uapi.h"

static const char *get_feature_name(uint32_t flags)
{
	switch (flags & VFIO_DEVICE_FEATURE_MASK) {
	case VFIO_DEVICE_FEATURE_PEERBAR_REVOKE:
		return "VFIO_DEVICE_FEATURE_PEERBAR_REVOKE";
	case VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR:
		return "VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR";
	default:
		return "VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE";
	}
}

/* One VFIO_DEVICE_FEATURE ioctl. Fails with -ENOTTY if the device's driver has no such feature. */
static int do_feature(struct pb_device *device, uint32_t flags, void *payload, size_t size)
{
	_Alignas(uint64_t) char
		room[sizeof(struct vfio_device_feature) + sizeof(struct peerbar_vfio_mmap_cookie)];
	struct vfio_device_feature *request = (struct vfio_device_feature *)room;
	int ret;

	request->argsz = (uint32_t)(sizeof(*request) + size);
	request->flags = flags;
	memcpy(request->data, payload, size);
	ret = pb_ioctl_once(device->fd, VFIO_DEVICE_FEATURE, get_feature_name(flags), request);
	if (ret > 0)
		ret = 0;
	memcpy(payload, request->data, size);
	return ret;
}

static int do_feature_restarting(struct pb_device *device, uint32_t flags, void *payload,
				 size_t size)
{
	int ret;

	do {
		ret = do_feature(device, flags, payload, size);
	} while (ret == -EINTR);
	return ret;
}

/* ---- memory attributes ---- */

static int fail_memattr(struct pb_device *device, const char *verb, int ret, struct pb_error *err)
{
	if (ret == -ENOTTY)
		return pb_fail_driver(err, device->bdf,
				      "cannot %s the memory attribute of a buffer of %s", verb,
				      device->bdf);
	if (ret == -ENODEV)
		return pb_fail(err, ENODEV,
			       "cannot %s the memory attribute of a buffer: it is not one of %s, or was revoked permanently",
			       verb, device->bdf);
	return pb_fail_errno(err, -ret,
			     "cannot %s the memory attribute of a buffer of %s (VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR)",
			     verb, device->bdf);
}

int pb_buffer_set_memattr(struct pb_device *device, struct pb_buffer *buffer,
			  const enum pb_memattr *memattrs, unsigned int nr_memattrs,
			  enum pb_memattr *chosen, struct pb_error *err)
{
	int ret = -EOPNOTSUPP;
	unsigned int i;

	if (!nr_memattrs || !memattrs)
		return pb_fail(err, EINVAL,
			       "cannot set the memory attribute of a buffer of %s: no attribute was given; PB_NC is one",
			       device->bdf);
	for (i = 0; ret == -EOPNOTSUPP && i < nr_memattrs; i++) {
		struct peerbar_vfio_memattr payload = { .dmabuf_fd = buffer->dmabuf->fd,
							.memattr = (uint32_t)memattrs[i] };

		ret = do_feature_restarting(device,
					    VFIO_DEVICE_FEATURE_SET |
						    VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR,
					    &payload, sizeof(payload));
		if (!ret && chosen)
			*chosen = memattrs[i];
	}
	if (ret == -EOPNOTSUPP)
		return pb_fail(err, EOPNOTSUPP,
			       "cannot set the memory attribute of a buffer of %s to %s (0x%x)%s: that is not supported; NC "
			       "always is",
			       device->bdf, pb_memattr_name(memattrs[0]), (unsigned int)memattrs[0],
			       nr_memattrs > 1 ? " or another of those that were given" : "");
	return ret ? fail_memattr(device, "set", ret, err) : 0;
}

int pb_buffer_memattr(struct pb_device *device, struct pb_buffer *buffer, enum pb_memattr *memattr,
		      struct pb_error *err)
{
	struct peerbar_vfio_memattr payload = { .dmabuf_fd = buffer->dmabuf->fd };
	int ret;

	ret = do_feature_restarting(device,
				    VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR,
				    &payload, sizeof(payload));
	if (ret)
		return fail_memattr(device, "get", ret, err);
	*memattr = (enum pb_memattr)payload.memattr;
	return 0;
}

/* ---- revocation ---- */

static int revoke_fd(struct pb_device *device, int fd)
{
	struct peerbar_vfio_revoke payload = { .dmabuf_fd = fd };
	int ret;

	ret = do_feature(device, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PEERBAR_REVOKE,
			 &payload, sizeof(payload));
	/* Already permanently revoked, and all importers have released it. */
	return ret == -EBADFD ? 0 : ret;
}

/*
 * Revoke the pieces first: only iommufd imports them, and it unmaps at once. The revocation of the
 * buffer itself may wait for an importer, so it must be last. If interrupted, continue with the
 * others.
 */
static int revoke_all(struct pb_device *device, const struct pb_dmabuf *dmabuf)
{
	bool interrupted = false;
	unsigned int i;
	int ret = 0;

	for (i = 0; dmabuf->nr_pieces > 1 && i < dmabuf->nr_pieces; i++) {
		ret = revoke_fd(device, dmabuf->pieces[i].fd);
		if (ret == -EINTR)
			interrupted = true;
		else if (ret)
			return ret;
	}
	ret = revoke_fd(device, dmabuf->fd);
	return !ret && interrupted ? -EINTR : ret;
}

int pb_buffer_revoke(struct pb_device *device, struct pb_buffer *buffer, struct pb_error *err)
{
	int ret;

	ret = revoke_all(device, buffer->dmabuf);
	if (!ret || ret == -EINTR)
		pb_dmabuf_mark_dead(buffer->dmabuf);
	switch (ret) {
	case 0:
		return 0;
	case -EINTR:
		return pb_fail(err, EINTR,
			       "a signal interrupted the revocation of a buffer of %s: "
			       "it is dead, but an importer has not released it yet; call again to "
			       "wait for that",
			       device->bdf);
	case -ENOTTY:
		return pb_fail_driver(err, device->bdf, "cannot revoke a buffer of %s permanently",
				      device->bdf);
	case -ENODEV:
		return pb_fail(err, ENODEV,
			       "cannot revoke a buffer: it is not one of %s, or was not exported by its present driver",
			       device->bdf);
	default:
		return pb_fail_errno(err, -ret,
				     "cannot revoke a buffer of %s (VFIO_DEVICE_FEATURE_PEERBAR_REVOKE)",
				     device->bdf);
	}
}

/* ---- cookies ---- */

int pb_device_mmap_cookie(struct pb_device *device, unsigned int bar, uint64_t offset,
			  uint64_t length, enum pb_memattr memattr, uint64_t *mmap_offset,
			  struct pb_error *err)
{
	struct peerbar_vfio_mmap_cookie payload = { .region_index = bar,
						    .nr_ranges = 1,
						    .offset = offset,
						    .length = length,
						    .memattr = (uint32_t)memattr };
	struct pb_range range = { .offset = offset, .length = length };
	int ret;

	ret = pb_check_ranges(device, bar, &range, 1, "make a cookie for", err);
	if (ret)
		return ret;
	ret = do_feature_restarting(device,
				    VFIO_DEVICE_FEATURE_GET |
					    VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE,
				    &payload, sizeof(payload));
	if (ret == -ENOTTY)
		return pb_fail_driver(err, device->bdf, "cannot make a cookie for BAR %u of %s",
				      bar, device->bdf);
	if (ret == -EOPNOTSUPP)
		return pb_fail(err, EOPNOTSUPP,
			       "cannot make a cookie for BAR %u of %s: the memory attribute %s (0x%x) is not supported; NC "
			       "always is",
			       bar, device->bdf, pb_memattr_name(memattr), (unsigned int)memattr);
	if (ret)
		return pb_fail_errno(err, -ret,
				     "cannot make a cookie for BAR %u of %s (VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE)",
				     bar, device->bdf);
	*mmap_offset = payload.mmap_offset;
	return 0;
}

int pb_device_mmap_at(struct pb_device *device, uint64_t mmap_offset, size_t length, bool writable,
		      void **address, struct pb_error *err)
{
	int ret;

	if (!length)
		return pb_fail(err, EINVAL,
			       "cannot map 0 bytes at the cookie 0x%" PRIx64
			       " of %s: the length must not be 0",
			       mmap_offset, device->bdf);
	/*
	 * Assume that the part begins at a huge page boundary, as most do: its offset in the BAR is
	 * not known.
	 */
	ret = pb_mmap(device->fd, mmap_offset, length, writable, 0, address);
	if (ret == -EINVAL)
		return pb_fail(err, EINVAL,
			       "cannot map 0x%zx bytes at the cookie 0x%" PRIx64 " of %s: it "
			       "is no cookie of this device, or one of a smaller part",
			       length, mmap_offset, device->bdf);
	if (ret)
		return pb_fail_errno(err, -ret,
				     "cannot map 0x%zx bytes at the cookie 0x%" PRIx64
				     " of %s (mmap)",
				     length, mmap_offset, device->bdf);
	return 0;
}
