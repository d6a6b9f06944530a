// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Mappings of an address space.
 *
 * iommufd maps ordinary memory (IOMMU_IOAS_MAP) and single-range dma-bufs of vfio-pci
 * (IOMMU_IOAS_MAP_FILE). A buffer of several ranges is mapped piece by piece at fixed addresses.
 * The library searches for a free range for all of them, because the kernel does so for one piece
 * only.
 */
#include <inttypes.h>
#include <stdio.h>

#include "map.h"
#include "uapi.h"

/* ---- the ioctls ---- */

int pb_map_one(struct pb_ioas *ioas, uint32_t ioas_id, int fd, uint64_t start, uint64_t length,
	       uint32_t prot, bool fixed, uint64_t *iova)
{
	uint32_t flags = prot | (fixed ? IOMMU_IOAS_MAP_FIXED_IOVA : 0);
	int ret;

	if (fd < 0) {
		struct iommu_ioas_map map = { .size = sizeof(map),
					      .flags = flags,
					      .ioas_id = ioas_id,
					      .user_va = start,
					      .length = length,
					      .iova = fixed ? *iova : 0 };

		ret = pb_ioctl(ioas->iommu->fd, IOMMU_IOAS_MAP, &map);
		if (!ret)
			*iova = map.iova;
	} else {
		struct iommu_ioas_map_file map = { .size = sizeof(map),
						   .flags = flags,
						   .ioas_id = ioas_id,
						   .fd = fd,
						   .start = start,
						   .length = length,
						   .iova = fixed ? *iova : 0 };

		ret = pb_ioctl(ioas->iommu->fd, IOMMU_IOAS_MAP_FILE, &map);
		if (!ret)
			*iova = map.iova;
	}
	return ret;
}

int pb_ioas_alloc_id(struct pb_iommu *iommu, uint32_t *id)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret;

	ret = pb_ioctl(iommu->fd, IOMMU_IOAS_ALLOC, &alloc);
	if (!ret)
		*id = alloc.out_ioas_id;
	return ret;
}

int pb_unmap_span(struct pb_ioas *ioas, uint32_t ioas_id, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = ioas_id, .iova = iova, .length = length
	};
	int ret;

	ret = pb_ioctl(ioas->iommu->fd, IOMMU_IOAS_UNMAP, &unmap);
	/* Another user of the IOAS, without the library, unmapped it first. */
	return ret == -ENOENT ? 0 : ret;
}

int pb_find_piece(const struct pb_dmabuf *dmabuf, uint64_t offset, uint64_t length, uint64_t *start,
		  uint64_t *n)
{
	unsigned int i = 0;

	while (offset >= dmabuf->pieces[i].size)
		offset -= dmabuf->pieces[i++].size;
	*start = offset;
	*n = dmabuf->pieces[i].size - offset;
	if (*n > length)
		*n = length;
	return dmabuf->pieces[i].fd;
}

int pb_map_pieces(struct pb_ioas *ioas, const struct pb_source *src, bool fixed, uint64_t *iova,
		  uint64_t *where)
{
	uint64_t done = 0;

	if (!src->dmabuf)
		return pb_map_one(ioas, ioas->id, -1, src->offset, src->length, src->prot, fixed,
				  iova);
	while (done < src->length) {
		uint64_t at = *iova + done;
		uint64_t start, n;
		int fd, ret;

		fd = pb_find_piece(src->dmabuf, src->offset + done, src->length - done, &start, &n);
		ret = pb_map_one(ioas, ioas->id, fd, start, n, src->prot, fixed || done, &at);
		if (ret) {
			if (done)
				pb_unmap_span(ioas, ioas->id, *iova, done);
			*where = at;
			return ret;
		}
		if (!done)
			*iova = at;
		done += n;
	}
	return 0;
}

static bool is_in_one_piece(const struct pb_source *src)
{
	uint64_t start, n;

	if (!src->dmabuf)
		return true;
	pb_find_piece(src->dmabuf, src->offset, src->length, &start, &n);
	return n == src->length;
}

/* ---- searching a free range ---- */

/*
 * Search for a free range, and map there. Mappings that were made in this IOAS without the library
 * are unknown, and fail with EEXIST: skip them, in growing steps.
 */
static int map_searching(struct pb_ioas *ioas, const struct pb_source *src, uint64_t *iova)
{
	struct pb_iova_range *taken, *aperture;
	struct pb_mapping *m;
	uint64_t alignment, page, from, step, where = 0;
	unsigned int n = 0, tries, nr_aperture;
	int ret;

	aperture = pb_ioas_get_ranges(ioas, &nr_aperture, &ret);
	if (!aperture)
		return ret;
	ret = pb_ioas_aperture(ioas, NULL, 0, NULL, &page, NULL);
	if (ret) {
		free(aperture);
		return ret;
	}
	LIST_FOREACH(m, &ioas->mappings, in_ioas)
		n++;
	taken = reallocarray(NULL, n ? n : 1, sizeof(*taken));
	if (!taken) {
		free(aperture);
		return -ENOMEM;
	}
	n = 0;
	LIST_FOREACH(m, &ioas->mappings, in_ioas) {
		taken[n].first = m->iova;
		taken[n++].last = m->iova + (m->length - 1);
	}
	/* Align for the IOMMU's huge pages. Don't use page 0, as the kernel does not. */
	alignment = page;
	if (src->length >= 2 << 20 && page < 2 << 20)
		alignment = 2 << 20;
	from = page;
	step = src->length;
	for (tries = 0; tries < 64; tries++) {
		ret = pb_find_hole(aperture, nr_aperture, taken, n, from, src->length, alignment,
				   iova);
		if (ret && (alignment > page || from > page)) {
			/* Retry with the smallest alignment and step. */
			alignment = page;
			from = tries ? where + page : page;
			step = page;
			ret = pb_find_hole(aperture, nr_aperture, taken, n, from, src->length,
					   alignment, iova);
		}
		if (ret)
			break;
		ret = pb_map_pieces(ioas, src, true, iova, &where);
		if (ret != -EEXIST)
			break;
		if (where > UINT64_MAX - step) {
			ret = -ENOSPC;
			break;
		}
		from = where + step;
		if (step < 1ULL << 40)
			step *= 2;
	}
	free(taken);
	free(aperture);
	return ret == -EEXIST ? -ENOSPC : ret;
}

static int map_anywhere(struct pb_ioas *ioas, const struct pb_source *src, uint64_t *iova)
{
	struct pb_mapping *m;
	uint64_t where;

	if (!is_in_one_piece(src))
		return map_searching(ioas, src, iova);
	/*
	 * The kernel must not allocate the addresses of a mapping that iommufd does not have at
	 * present.
	 */
	LIST_FOREACH(m, &ioas->mappings, in_ioas)
		if (!m->mapped)
			return map_searching(ioas, src, iova);
	*iova = 0;
	return pb_map_pieces(ioas, src, false, iova, &where);
}

/* ---- errors ---- */

static int fail_not_supported(const struct pb_dmabuf *dmabuf, const char *what,
			      struct pb_error *err)
{
	const struct pb_buffer_info *info = &dmabuf->info;
	bool ours = info->managed || !strcmp(info->exporter, "peerbar_vfio_pci");
	bool several = info->nr_ranges > 1 && dmabuf->nr_pieces == 1;
	struct peerbar_info modules;

	if (ours && !several &&
	    (pb_query_module(&modules) || !(modules.caps & PEERBAR_CAP_IOMMUFD)))
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: iommufd takes dma-bufs of the exporter '%s' with the help of the kernel module "
			       "peerbar-iommufd, which is not loaded: modprobe peerbar-iommufd",
			       what, info->exporter);
	if (ours && !several)
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: iommufd takes dma-bufs of a device's memory, and this one of the exporter '%s' "
			       "is ordinary memory",
			       what, info->exporter);
	if (!ours && strcmp(info->exporter, "vfio_pci_core"))
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: iommufd of this kernel maps dma-bufs of vfio-pci, and this one is of "
			       "the exporter '%s'; those of other exporters need the kernel module peerbar-iommufd: "
			       "modprobe peerbar-iommufd",
			       what, info->exporter);
	return pb_fail(err, EOPNOTSUPP,
		       "cannot map %s: iommufd of this kernel maps dma-bufs of a single range, and this one has several "
		       "or comes from a kernel without VFIO_PCI_DMABUF; export it in this process, or a descriptor for each range",
		       what);
}

int pb_fail_map(struct pb_ioas *ioas, const struct pb_source *src, bool fixed, uint64_t iova,
		int ret, struct pb_error *err)
{
	struct pb_iova_range *aperture, gap;
	unsigned int n;
	char what[80];
	bool outside;
	int failed;

	if (src->dmabuf)
		snprintf(what, sizeof(what), "0x%" PRIx64 " bytes at 0x%" PRIx64 " of a buffer",
			 src->length, src->offset);
	else
		snprintf(what, sizeof(what), "0x%" PRIx64 " bytes of memory at 0x%" PRIx64,
			 src->length, src->offset);
	switch (ret) {
	case -EEXIST:
		return pb_fail(err, EEXIST,
			       "cannot map %s at IOVA 0x%" PRIx64
			       ": something is mapped there in address space %u; unmap it, or "
			       "choose another address",
			       what, iova, ioas->id);
	case -ENOSPC:
		return pb_fail(err, ENOSPC,
			       "cannot map %s: address space %u has no free room of this size",
			       what, ioas->id);
	case -ENODEV:
		if (!src->dmabuf)
			break;
		if (atomic_load(&src->dmabuf->dead))
			return pb_fail(err, ENODEV,
				       "cannot map %s: the buffer was revoked permanently; its ranges can be exported afresh",
				       what);
		return pb_fail(err, ENODEV,
			       "cannot map %s: the buffer is revoked; memory decoding of its device may be off, or the device "
			       "closed",
			       what);
	case -EOPNOTSUPP:
		if (!src->dmabuf)
			break;
		return fail_not_supported(src->dmabuf, what, err);
	case -EFAULT:
		if (src->dmabuf)
			break;
		return pb_fail(err, EFAULT,
			       "cannot map %s: it is not mapped in this process, or read-only, or is memory of a device, which cannot "
			       "be pinned; map a device's memory as a buffer",
			       what);
	case -ENOMEM:
		if (src->dmabuf)
			break;
		return pb_fail(err, ENOMEM,
			       "cannot map %s: no memory, or its pages are more than RLIMIT_MEMLOCK allows to pin",
			       what);
	case -EINVAL:
	case -EOVERFLOW:
		if (!fixed && ret == -EOVERFLOW)
			return pb_fail(err, ENOSPC,
				       "cannot map %s: it is larger than any address "
				       "space",
				       what);
		if (!fixed)
			break;
		aperture = pb_ioas_get_ranges(ioas, &n, &failed);
		if (!aperture)
			break;
		outside = pb_find_gap(aperture, n, iova, iova + (src->length - 1), &gap);
		free(aperture);
		if (outside)
			return pb_fail_aperture(ioas, what, iova, iova + (src->length - 1), err);
		break;
	}
	return pb_fail_errno(err, -ret, "cannot map %s into address space %u (%s)", what, ioas->id,
			     src->dmabuf ? "IOMMU_IOAS_MAP_FILE" : "IOMMU_IOAS_MAP");
}

/* ---- mappings ---- */

static void insert_mapping(struct pb_ioas *ioas, struct pb_mapping *mapping)
{
	struct pb_mapping *m, *before = NULL;

	LIST_FOREACH(m, &ioas->mappings, in_ioas) {
		if (m->iova > mapping->iova)
			break;
		before = m;
	}
	if (before)
		LIST_INSERT_AFTER(before, mapping, in_ioas);
	else
		LIST_INSERT_HEAD(&ioas->mappings, mapping, in_ioas);
}

bool pb_is_taken(struct pb_ioas *ioas, uint64_t iova, uint64_t length)
{
	struct pb_mapping *m;

	LIST_FOREACH(m, &ioas->mappings, in_ioas)
		if (iova <= m->iova + (m->length - 1) && m->iova <= iova + (length - 1))
			return true;
	return false;
}

static int map_source(struct pb_ioas *ioas, const struct pb_source *src, unsigned int flags,
		      uint64_t iova, const int *notify_fd, struct pb_mapping **mapping,
		      struct pb_error *err)
{
	bool fixed = flags & PB_MAP_FIXED;
	struct pb_mapping *new;
	uint64_t where = 0;
	uint64_t seen = 0;
	int ret;

	if (fixed && !pb_aligned(iova, pb_page_size()))
		return pb_fail(err, EINVAL,
			       "cannot map at IOVA 0x%" PRIx64
			       ": it must be a multiple of the page size, 0x%" PRIx64,
			       iova, pb_page_size());
	if (fixed && iova > UINT64_MAX - (src->length - 1))
		return pb_fail(err, ERANGE,
			       "cannot map 0x%" PRIx64 " bytes at IOVA 0x%" PRIx64
			       ": they end beyond 2^64",
			       src->length, iova);
	new = calloc(1, sizeof(*new));
	if (!new)
		return pb_fail_errno(err, ENOMEM, "cannot map");
	new->ioas = ioas;
	new->events = &ioas->events;
	new->length = src->length;
	new->prot = src->prot;
	new->offset = src->offset;
	new->mapped = true;
	new->notify_fd = notify_fd;
	atomic_init(&new->state, PB_LIVE);

	pthread_mutex_lock(&ioas->lock);
	if (src->dmabuf)
		seen = pb_origin_get_revocations(src->dmabuf->origin);
	if (!fixed)
		ret = map_anywhere(ioas, src, &iova);
	else if (pb_is_taken(ioas, iova, src->length))
		ret = -EEXIST;
	else
		ret = pb_map_pieces(ioas, src, true, &iova, &where);
	if (ret) {
		pthread_mutex_unlock(&ioas->lock);
		free(new);
		return pb_fail_map(ioas, src, fixed, iova, ret, err);
	}
	new->iova = iova;
	insert_mapping(ioas, new);
	if (src->dmabuf) {
		new->dmabuf = pb_dmabuf_get(src->dmabuf);
		if (src->bridge_of) {
			new->bridge_of = pb_dmabuf_get(src->bridge_of);
			pb_bridge_close_pieces(new->dmabuf, src->offset);
		}
		pb_origin_watch(new->dmabuf->origin, new, seen);
	}
	*mapping = new;
	pthread_mutex_unlock(&ioas->lock);
	return 0;
}

int pb_check_map_flags(unsigned int flags, unsigned int known, uint32_t *prot, struct pb_error *err)
{
	if (flags & ~known)
		return pb_fail(err, EINVAL, "cannot map with flags 0x%x: 0x%x is not known here",
			       flags, flags & ~known);
	if (!(flags & (PB_MAP_READ | PB_MAP_WRITE)))
		return pb_fail(err, EINVAL,
			       "cannot map with flags 0x%x: they allow no access; PB_MAP_READ, PB_MAP_WRITE or both are needed",
			       flags);
	*prot = (flags & PB_MAP_READ ? IOMMU_IOAS_MAP_READABLE : 0) |
		(flags & PB_MAP_WRITE ? IOMMU_IOAS_MAP_WRITEABLE : 0);
	return 0;
}

int pb_map_memory(struct pb_ioas *ioas, void *address, uint64_t length, unsigned int flags,
		  uint64_t iova, struct pb_mapping **mapping, struct pb_error *err)
{
	struct pb_source src = { .offset = (uintptr_t)address, .length = length };
	int ret;

	ret = pb_check_map_flags(flags, PB_MAP_READ | PB_MAP_WRITE | PB_MAP_FIXED, &src.prot, err);
	if (ret)
		return ret;
	if (!length || !pb_aligned(length, pb_page_size()) ||
	    !pb_aligned(src.offset, pb_page_size()))
		return pb_fail(err, EINVAL,
			       "cannot map 0x%" PRIx64 " bytes of memory at 0x%" PRIx64
			       ": address and length must be multiples of the page "
			       "size, 0x%" PRIx64 ", and the length not 0",
			       length, src.offset, pb_page_size());
	if (src.offset + length < src.offset)
		return pb_fail(err, EFAULT,
			       "cannot map 0x%" PRIx64 " bytes of memory at 0x%" PRIx64
			       ": they end beyond 2^64",
			       length, src.offset);
	return map_source(ioas, &src, flags, iova, NULL, mapping, err);
}

/* Bridge the buffer of @src, and map the bridge. */
static int map_bridged(struct pb_ioas *ioas, struct pb_source *src, unsigned int flags,
		       uint64_t iova, const int *notify_fd, struct pb_mapping **mapping,
		       struct pb_error *err)
{
	struct pb_dmabuf *bridged;
	int ret;

	ret = pb_bridge(ioas, src->dmabuf, &bridged, err);
	if (ret)
		return ret;
	src->bridge_of = src->dmabuf;
	src->dmabuf = bridged;
	ret = map_source(ioas, src, flags, iova, notify_fd, mapping, err);
	pb_dmabuf_put(bridged);
	return ret;
}

int pb_map_buffer_notify(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset,
			 uint64_t length, unsigned int flags, uint64_t iova, const int *notify_fd,
			 struct pb_mapping **mapping, struct pb_error *err)
{
	struct pb_dmabuf *dmabuf = buffer->dmabuf;
	struct pb_source src = { .dmabuf = dmabuf, .offset = offset };
	uint64_t size = dmabuf->info.size;
	struct pb_error refused;
	int ret;

	ret = pb_check_map_flags(flags,
				 PB_MAP_READ | PB_MAP_WRITE | PB_MAP_FIXED | PB_MAP_UNKNOWN_MODEL,
				 &src.prot, err);
	if (ret)
		return ret;
	if (offset >= size || length > size - offset)
		return pb_fail(err, ERANGE,
			       "cannot map 0x%" PRIx64 " bytes at 0x%" PRIx64
			       " of a buffer: its size is 0x%" PRIx64,
			       length, offset, size);
	src.length = length ? length : size - offset;
	if (!pb_aligned(offset, pb_page_size()) || !pb_aligned(src.length, pb_page_size()))
		return pb_fail(err, EINVAL,
			       "cannot map 0x%" PRIx64 " bytes at 0x%" PRIx64
			       " of a buffer: both must be multiples of the page size, 0x%" PRIx64,
			       src.length, offset, pb_page_size());
	if (pb_needs_bridge(dmabuf) && pb_can_bridge())
		return map_bridged(ioas, &src, flags, iova, notify_fd, mapping, err);
	ret = pb_model_accept(pb_dmabuf_model(dmabuf), flags & PB_MAP_UNKNOWN_MODEL,
			      dmabuf->info.exporter, err);
	if (ret)
		return ret;
	ret = map_source(ioas, &src, flags, iova, notify_fd, mapping, &refused);
	/* Another exporter's descriptor of vfio-pci may have several ranges. */
	if (ret == -EOPNOTSUPP && !dmabuf->nr_ranges && !dmabuf->info.managed && pb_can_bridge())
		return map_bridged(ioas, &src, flags, iova, notify_fd, mapping, err);
	if (ret && err)
		*err = refused;
	return ret;
}

int pb_map_buffer(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset, uint64_t length,
		  unsigned int flags, uint64_t iova, struct pb_mapping **mapping,
		  struct pb_error *err)
{
	return pb_map_buffer_notify(ioas, buffer, offset, length, flags, iova, NULL, mapping, err);
}

uint64_t pb_mapping_iova(const struct pb_mapping *mapping)
{
	return mapping->iova;
}

uint64_t pb_mapping_length(const struct pb_mapping *mapping)
{
	return mapping->length;
}

enum pb_state pb_mapping_state(const struct pb_mapping *mapping)
{
	return (enum pb_state)atomic_load(&mapping->state);
}

void pb_mapping_set_data(struct pb_mapping *mapping, void *data)
{
	atomic_store(&mapping->data, data);
}

void *pb_mapping_data(const struct pb_mapping *mapping)
{
	return atomic_load(&mapping->data);
}

void pb_mapping_free(struct pb_mapping *mapping)
{
	LIST_REMOVE(mapping, in_ioas);
	if (mapping->dmabuf)
		pb_origin_unwatch(mapping->dmabuf->origin, mapping);
	/* No other thread can queue it now. */
	pb_mapping_forget_event(mapping);
	pb_dmabuf_put(mapping->dmabuf);
	pb_dmabuf_put(mapping->bridge_of);
	free(mapping);
}

int pb_unmap(struct pb_mapping *mapping, struct pb_error *err)
{
	struct pb_ioas *ioas;
	uint64_t iova, length;
	int ret = 0;

	if (!mapping)
		return 0;
	ioas = mapping->ioas;
	pthread_mutex_lock(&ioas->lock);
	iova = mapping->iova;
	length = mapping->length;
	if (mapping->mapped)
		ret = pb_unmap_span(ioas, ioas->id, mapping->iova, mapping->length);
	if (ret)
		ret = pb_fail_errno(err, -ret,
				    "cannot unmap 0x%" PRIx64 " bytes at IOVA 0x%" PRIx64
				    " of address space %u (IOMMU_IOAS_UNMAP)",
				    mapping->length, mapping->iova, ioas->id);
	else
		pb_mapping_free(mapping);
	pthread_mutex_unlock(&ioas->lock);
	if (!ret)
		pb_waitlist_wake(&ioas->room, iova, iova + (length - 1));
	return ret;
}
