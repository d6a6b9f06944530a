// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Buffers: dma-bufs, exported here or received as descriptors. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/dma-buf.h>
#include <stdio.h>
#include <sys/stat.h>

#include "internal.h"
#include "vfio-uapi.h"

struct pb_dmabuf *pb_dmabuf_get(struct pb_dmabuf *dmabuf)
{
	atomic_fetch_add(&dmabuf->refs, 1);
	return dmabuf;
}

void pb_dmabuf_put(struct pb_dmabuf *dmabuf)
{
	unsigned int i;

	if (!dmabuf || atomic_fetch_sub(&dmabuf->refs, 1) > 1)
		return;
	/* With one range, the piece's descriptor is the buffer's own, except for a bridge's. */
	if (dmabuf->pieces != &dmabuf->only_piece)
		for (i = 0; i < dmabuf->nr_pieces; i++)
			if (dmabuf->pieces[i].fd >= 0)
				close(dmabuf->pieces[i].fd);
	if (dmabuf->fd >= 0)
		close(dmabuf->fd);
	pb_origin_put(dmabuf->origin);
	if (dmabuf->ranges != &dmabuf->only_range)
		free(dmabuf->ranges);
	if (dmabuf->pieces != &dmabuf->only_piece)
		free(dmabuf->pieces);
	free(dmabuf);
}

/* A buffer that iommufd maps with its own descriptor. */
static void use_as_piece(struct pb_dmabuf *dmabuf)
{
	dmabuf->only_piece = (struct pb_piece){ .fd = dmabuf->fd, .size = dmabuf->info.size };
	dmabuf->pieces = &dmabuf->only_piece;
	dmabuf->nr_pieces = 1;
}

/* ---- export ---- */

int pb_check_ranges(struct pb_device *device, unsigned int bar, const struct pb_range *ranges,
		    unsigned int nr_ranges, const char *verb, struct pb_error *err)
{
	uint64_t page = pb_page_size();
	uint64_t total = 0;
	uint64_t size;
	unsigned int i;

	if (bar >= PB_BARS)
		return pb_fail(err, EINVAL,
			       "cannot %s BAR %u of %s: a PCI function has BARs 0 to %u", verb, bar,
			       device->bdf, PB_BARS - 1);
	size = bar < device->nr_regions ? device->regions[bar].size : 0;
	if (!size || !device->memory_bar[bar])
		return pb_fail(err, ENODEV,
			       "cannot %s BAR %u of %s: it has no such BAR with memory", verb, bar,
			       device->bdf);
	if (nr_ranges > PB_MAX_RANGES)
		return pb_fail(err, EINVAL,
			       "cannot %s %u ranges of BAR %u of %s: %u is the maximum", verb,
			       nr_ranges, bar, device->bdf, PB_MAX_RANGES);
	if (!nr_ranges || !ranges)
		return pb_fail(err, EINVAL,
			       "cannot %s BAR %u of %s: no range was given; one at least is needed",
			       verb, bar, device->bdf);
	for (i = 0; i < nr_ranges; i++) {
		uint64_t offset = ranges[i].offset, length = ranges[i].length;

		if (!length)
			return pb_fail(err, EINVAL,
				       "cannot %s range %u of BAR %u of %s: its length is 0; one "
				       "page, 0x%" PRIx64 ", is the least",
				       verb, i, bar, device->bdf, page);
		if (!pb_aligned(offset, page) || !pb_aligned(length, page))
			return pb_fail(err, EINVAL,
				       "cannot %s range %u (0x%" PRIx64 " bytes at 0x%" PRIx64
				       ") of BAR %u of %s: offset and length must be "
				       "multiples of the page size, 0x%" PRIx64,
				       verb, i, length, offset, bar, device->bdf, page);
		if (offset + length < offset)
			return pb_fail(err, EOVERFLOW,
				       "cannot %s range %u (0x%" PRIx64 " bytes at 0x%" PRIx64
				       ") of BAR %u of %s: its end is beyond "
				       "2^64; the BAR's size is 0x%" PRIx64,
				       verb, i, length, offset, bar, device->bdf, size);
		if (offset + length > size)
			return pb_fail(err, ERANGE,
				       "cannot %s range %u (0x%" PRIx64 " bytes at 0x%" PRIx64
				       ") of BAR %u of %s: it ends beyond the BAR, "
				       "whose size is 0x%" PRIx64,
				       verb, i, length, offset, bar, device->bdf, size);
		if (__builtin_add_overflow(total, length, &total) || total > INT64_MAX)
			return pb_fail(err, EOVERFLOW,
				       "cannot %s %u ranges of BAR %u of %s: together they are larger than 2^63",
				       verb, nr_ranges, bar, device->bdf);
	}
	return 0;
}

static int export_fd(struct pb_device *device, unsigned int bar, const struct pb_range *ranges,
		     unsigned int nr_ranges, struct pb_error *err)
{
	struct vfio_device_feature_dma_buf *request;
	struct vfio_device_feature *feature;
	size_t size = sizeof(*feature) + sizeof(*request) +
		(size_t)nr_ranges * sizeof(request->dma_ranges[0]);
	uint64_t room[16]; /* for a few ranges */
	unsigned int i;
	int fd;

	feature = size <= sizeof(room) ? (void *)room : malloc(size);
	if (!feature)
		return pb_fail_errno(err, ENOMEM, "cannot export BAR %u of %s", bar, device->bdf);
	memset(feature, 0, size);
	feature->argsz = (uint32_t)size;
	feature->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	request = (void *)feature->data;
	request->region_index = bar;
	request->open_flags = O_RDWR | O_CLOEXEC;
	request->nr_ranges = nr_ranges;
	for (i = 0; i < nr_ranges; i++) {
		request->dma_ranges[i].offset = ranges[i].offset;
		request->dma_ranges[i].length = ranges[i].length;
	}
	fd = pb_ioctl(device->fd, VFIO_DEVICE_FEATURE, feature);
	if (feature != (void *)room)
		free(feature);
	switch (fd) {
	case -ENOTTY:
	case -EOPNOTSUPP:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot export BAR %u of %s: its driver or this kernel cannot export dma-bufs "
			       "(VFIO_DEVICE_FEATURE_DMA_BUF); Linux 7.2 with CONFIG_VFIO_PCI_DMABUF can",
			       bar, device->bdf);
	case -ENODEV:
		return pb_fail(err, ENODEV,
			       "cannot export BAR %u of %s: its memory is claimed by another driver, or the device is being "
			       "unbound",
			       bar, device->bdf);
	case -EINVAL:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot export BAR %u of %s: the kernel does not offer this BAR to peers",
			       bar, device->bdf);
	case -EDQUOT:
		return pb_fail(err, EDQUOT,
			       "cannot export BAR %u of %s: this user has reached the "
			       "limit of buffers or of their ranges; close some, or raise "
			       "max_buffers or max_ranges of the module peerbar",
			       bar, device->bdf);
	}
	if (fd < 0)
		return pb_fail_errno(err, -fd,
				     "cannot export BAR %u of %s (VFIO_DEVICE_FEATURE_DMA_BUF)",
				     bar, device->bdf);
	return fd;
}

static int export_pieces(struct pb_dmabuf *dmabuf, struct pb_device *device, struct pb_error *err)
{
	unsigned int i;

	if (dmabuf->nr_ranges == 1) {
		use_as_piece(dmabuf);
		return 0;
	}
	dmabuf->pieces = calloc(dmabuf->nr_ranges, sizeof(*dmabuf->pieces));
	if (!dmabuf->pieces)
		return pb_fail_errno(err, ENOMEM, "cannot export BAR %d of %s", dmabuf->info.bar,
				     device->bdf);
	for (i = 0; i < dmabuf->nr_ranges; i++) {
		int fd = export_fd(device, (unsigned int)dmabuf->info.bar, &dmabuf->ranges[i], 1,
				   err);

		if (fd < 0) {
			/* Don't let pb_dmabuf_put() close these again. */
			while (i--)
				close(dmabuf->pieces[i].fd);
			dmabuf->nr_pieces = 0;
			return fd;
		}
		dmabuf->pieces[i].fd = fd;
		dmabuf->pieces[i].size = dmabuf->ranges[i].length;
	}
	dmabuf->nr_pieces = dmabuf->nr_ranges;
	return 0;
}

/* Query only the device's first buffer; later ones differ only in size and number. */
static int identify_export(struct pb_dmabuf *dmabuf, struct pb_device *device, struct pb_error *err)
{
	struct pb_buffer_info *info = &dmabuf->info;
	uint64_t size = 0;
	unsigned int i;
	int ret;

	for (i = 0; i < dmabuf->nr_ranges; i++)
		size += dmabuf->ranges[i].length;
	if (pb_origin_get_kind(device->origin, size, info))
		return 0;
	ret = pb_identify(device->origin, dmabuf->fd, dmabuf->fd, false, info, err);
	if (ret)
		return ret;
	atomic_store(&dmabuf->id, info->id);
	pb_origin_store_kind(device->origin, info);
	return 0;
}

static int new_buffer(struct pb_dmabuf *dmabuf, struct pb_buffer **buffer, struct pb_error *err)
{
	struct pb_buffer *new;

	new = calloc(1, sizeof(*new));
	if (!new)
		return pb_fail_errno(err, ENOMEM, "cannot allocate a buffer");
	new->dmabuf = dmabuf;
	*buffer = new;
	return 0;
}

int pb_buffer_export(struct pb_device *device, unsigned int bar, const struct pb_range *ranges,
		     unsigned int nr_ranges, unsigned int flags, struct pb_buffer **buffer,
		     struct pb_error *err)
{
	char name[DMA_BUF_NAME_LEN];
	struct pb_dmabuf *dmabuf;
	int ret;

	if (flags)
		return pb_fail(err, EINVAL,
			       "cannot export BAR %u of %s with flags 0x%x: no flags "
			       "are defined; pass 0",
			       bar, device->bdf, flags);
	ret = pb_check_ranges(device, bar, ranges, nr_ranges, "export", err);
	if (ret)
		return ret;
	dmabuf = calloc(1, sizeof(*dmabuf));
	if (!dmabuf)
		return pb_fail_errno(err, ENOMEM, "cannot export BAR %u of %s", bar, device->bdf);
	atomic_init(&dmabuf->refs, 1);
	dmabuf->origin = pb_origin_get(device->origin);
	dmabuf->fd = -1;
	dmabuf->ranges = nr_ranges == 1 ? &dmabuf->only_range :
					  reallocarray(NULL, nr_ranges, sizeof(*ranges));
	if (!dmabuf->ranges) {
		ret = pb_fail_errno(err, ENOMEM, "cannot export BAR %u of %s", bar, device->bdf);
		goto err_put;
	}
	memcpy(dmabuf->ranges, ranges, nr_ranges * sizeof(*ranges));
	dmabuf->nr_ranges = nr_ranges;

	ret = export_fd(device, bar, ranges, nr_ranges, err);
	if (ret < 0)
		goto err_put;
	dmabuf->fd = ret;
	ret = identify_export(dmabuf, device, err);
	if (ret)
		goto err_put;
	dmabuf->info.bar = (int)bar;
	memcpy(dmabuf->info.bdf, device->bdf, sizeof(dmabuf->info.bdf));
	/* For /proc and debugfs; nothing depends on the name. peerbar-vfio-pci sets one itself. */
	if (!dmabuf->info.managed) {
		snprintf(name, sizeof(name), "%s BAR %u", device->bdf, bar);
		pb_ioctl(dmabuf->fd, DMA_BUF_SET_NAME_B, name);
	}
	ret = export_pieces(dmabuf, device, err);
	if (ret)
		goto err_put;
	ret = new_buffer(dmabuf, buffer, err);
	if (ret)
		goto err_put;
	return 0;

err_put:
	pb_dmabuf_put(dmabuf);
	return ret;
}

int pb_buffer_from_fd(int fd, struct pb_buffer **buffer, struct pb_error *err)
{
	struct pb_dmabuf *dmabuf;
	int ret;

	dmabuf = calloc(1, sizeof(*dmabuf));
	if (!dmabuf)
		return pb_fail_errno(err, ENOMEM, "cannot take descriptor %d as a buffer", fd);
	atomic_init(&dmabuf->refs, 1);
	dmabuf->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (dmabuf->fd < 0) {
		ret = errno == EBADF ?
			pb_fail(err, EBADF,
				"descriptor %d is not open; pass one of "
				"a dma-buf",
				fd) :
			pb_fail_errno(err, errno, "cannot duplicate descriptor %d", fd);
		goto err_put;
	}
	dmabuf->origin = pb_origin_new("");
	if (!dmabuf->origin) {
		ret = pb_fail_errno(err, ENOMEM, "cannot take descriptor %d as a buffer", fd);
		goto err_put;
	}
	ret = pb_identify(dmabuf->origin, dmabuf->fd, fd, false, &dmabuf->info, err);
	if (ret)
		goto err_put;
	atomic_store(&dmabuf->id, dmabuf->info.id);
	use_as_piece(dmabuf);
	ret = new_buffer(dmabuf, buffer, err);
	if (ret)
		goto err_put;
	return 0;

err_put:
	pb_dmabuf_put(dmabuf);
	return ret;
}

/* ---- queries ---- */

int pb_buffer_fd(const struct pb_buffer *buffer)
{
	return buffer->dmabuf->fd;
}

/* The library exported the buffer, so it knows the place. */
static void locate_exported(const struct pb_dmabuf *dmabuf, struct pb_buffer_info *info)
{
	info->place = PB_PLACE_BAR;
	info->place_basis = PB_BASIS_DECLARED;
	memcpy(info->place_bdf, dmabuf->info.bdf, sizeof(dmabuf->info.bdf));
	info->place_bar = (unsigned int)dmabuf->info.bar;
	info->place_offset = dmabuf->ranges[0].offset;
}

static int query_buffer(struct pb_buffer *buffer, bool probe, struct pb_buffer_info *info,
			size_t size, struct pb_error *err)
{
	struct pb_dmabuf *dmabuf = buffer->dmabuf;
	struct pb_buffer_info found;
	int ret;

	/* The state may have changed since the export. */
	ret = pb_identify(dmabuf->origin, dmabuf->fd, dmabuf->fd, probe, &found, err);
	if (ret)
		return ret;
	found.bar = dmabuf->info.bar;
	memcpy(found.bdf, dmabuf->info.bdf, sizeof(found.bdf));
	if (dmabuf->nr_ranges)
		found.nr_ranges = dmabuf->nr_ranges;
	if (dmabuf->nr_ranges && found.bdf[0])
		locate_exported(dmabuf, &found);
	pb_fill_sized(info, size, &found, sizeof(found));
	return 0;
}

int pb_buffer_query_sized(struct pb_buffer *buffer, struct pb_buffer_info *info, size_t size,
			  struct pb_error *err)
{
	return query_buffer(buffer, false, info, size, err);
}

int pb_buffer_probe_sized(struct pb_buffer *buffer, struct pb_buffer_info *info, size_t size,
			  struct pb_error *err)
{
	return query_buffer(buffer, true, info, size, err);
}

unsigned int pb_buffer_ranges(const struct pb_buffer *buffer, struct pb_range *ranges,
			      unsigned int nr_ranges)
{
	struct pb_dmabuf *dmabuf = buffer->dmabuf;
	unsigned int n = nr_ranges < dmabuf->nr_ranges ? nr_ranges : dmabuf->nr_ranges;

	if (n)
		memcpy(ranges, dmabuf->ranges, n * sizeof(*ranges));
	return dmabuf->nr_ranges;
}

uint64_t pb_buffer_id(const struct pb_buffer *buffer)
{
	struct pb_dmabuf *dmabuf = buffer->dmabuf;
	uint64_t id = atomic_load(&dmabuf->id);
	struct stat st;

	if (!id && !fstat(dmabuf->fd, &st)) {
		id = st.st_ino;
		atomic_store(&dmabuf->id, id);
	}
	return id;
}

uint64_t pb_buffer_size(const struct pb_buffer *buffer)
{
	return buffer->dmabuf->info.size;
}

int pb_buffer_share(struct pb_buffer *buffer, struct pb_buffer **shared, struct pb_error *err)
{
	struct pb_dmabuf *dmabuf = pb_dmabuf_get(buffer->dmabuf);
	int ret;

	ret = new_buffer(dmabuf, shared, err);
	if (ret)
		pb_dmabuf_put(dmabuf);
	return ret;
}

void pb_buffer_close(struct pb_buffer *buffer)
{
	if (!buffer)
		return;
	pb_dmabuf_put(buffer->dmabuf);
	free(buffer);
}
