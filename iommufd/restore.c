// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Revoked mappings: finding them, and mapping their buffers again. */
#include "map.h"
#include "uapi.h"

/*
 * Test whether the mapping's buffer can be mapped now, in an IOAS without devices. Fails with
 * -ENODEV if it is revoked. One piece is enough: all pieces of a buffer belong to one device, and
 * are revoked together.
 */
static int probe_buffer(struct pb_ioas *ioas, struct pb_mapping *mapping)
{
	struct pb_source src = { .dmabuf = mapping->dmabuf,
				 .offset = mapping->offset,
				 .length = mapping->length };
	uint64_t start, n, iova;
	int fd, ret;

	if (!ioas->scratch_id) {
		ret = pb_ioas_alloc_id(ioas->iommu, &ioas->scratch_id);
		if (ret)
			return ret;
	}
	fd = pb_find_piece(src.dmabuf, src.offset, src.length, &start, &n);
	ret = pb_map_one(ioas, ioas->scratch_id, fd, start, n, IOMMU_IOAS_MAP_READABLE, false,
			 &iova);
	if (!ret)
		ret = pb_unmap_span(ioas, ioas->scratch_id, iova, n);
	return ret;
}

/* Test whether all addresses are mapped: otherwise a copy fails. It does not change the source. */
static int probe_addresses(struct pb_ioas *ioas, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_copy copy = { .size = sizeof(copy),
					.flags = IOMMU_IOAS_MAP_READABLE,
					.dst_ioas_id = ioas->scratch_id,
					.src_ioas_id = ioas->id,
					.length = length,
					.src_iova = iova };
	int ret;

	ret = pb_ioctl(ioas->iommu->fd, IOMMU_IOAS_COPY, &copy);
	if (!ret)
		ret = pb_unmap_span(ioas, ioas->scratch_id, copy.dst_iova, length);
	return ret;
}

int pb_ioas_test_map(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset,
		     uint64_t length, unsigned int flags, uint64_t iova)
{
	struct pb_source src = { .dmabuf = buffer->dmabuf, .offset = offset, .length = length };
	uint64_t where;
	int ret;

	ret = pb_check_map_flags(flags, PB_MAP_READ | PB_MAP_WRITE, &src.prot, NULL);
	if (ret)
		return ret;
	pthread_mutex_lock(&ioas->lock);
	ret = pb_is_taken(ioas, iova, length) ? -EEXIST :
						pb_map_pieces(ioas, &src, true, &iova, &where);
	if (!ret)
		ret = pb_unmap_span(ioas, ioas->id, iova, length);
	pthread_mutex_unlock(&ioas->lock);
	return ret;
}

bool pb_ioas_is_mapped(struct pb_ioas *ioas, uint64_t iova, uint64_t length)
{
	int ret = 0;

	pthread_mutex_lock(&ioas->lock);
	if (!ioas->scratch_id)
		ret = pb_ioas_alloc_id(ioas->iommu, &ioas->scratch_id);
	if (!ret)
		ret = probe_addresses(ioas, iova, length);
	pthread_mutex_unlock(&ioas->lock);
	return !ret;
}

int pb_mapping_query(struct pb_mapping *mapping)
{
	struct pb_ioas *ioas = mapping->ioas;
	int ret;

	pthread_mutex_lock(&ioas->lock);
	ret = probe_buffer(ioas, mapping);
	if (!ret)
		ret = probe_addresses(ioas, mapping->iova, mapping->length);
	pthread_mutex_unlock(&ioas->lock);
	return ret;
}

/* Map @src instead of the dead mapping, whose place it takes. */
static int map_again(struct pb_ioas *ioas, const struct pb_source *src, struct pb_mapping *mapping)
{
	uint64_t iova = mapping->iova, where = 0;
	int ret = 0;

	if (mapping->mapped) {
		ret = pb_unmap_span(ioas, ioas->id, iova, mapping->length);
		if (!ret)
			mapping->mapped = false;
	}
	if (!ret)
		ret = pb_map_pieces(ioas, src, true, &iova, &where);
	if (!ret)
		mapping->mapped = true;
	return ret;
}

int pb_mapping_restore(struct pb_mapping *mapping, struct pb_error *err)
{
	struct pb_source src = { .dmabuf = mapping->dmabuf,
				 .offset = mapping->offset,
				 .length = mapping->length,
				 .prot = mapping->prot };
	struct pb_ioas *ioas = mapping->ioas;
	struct pb_dmabuf *bridged = NULL;
	uint64_t seen;
	int ret = 0;

	if (pb_mapping_state(mapping) == PB_LIVE)
		return 0;
	/* Bridge the buffer anew: its ranges may be others, and the old ones stay revoked. */
	if (mapping->bridge_of) {
		ret = pb_bridge(ioas, mapping->bridge_of, &bridged, err);
		if (ret)
			return ret;
	}
	pthread_mutex_lock(&ioas->lock);
	if (pb_mapping_state(mapping) == PB_LIVE)
		goto out;
	seen = pb_origin_get_revocations(mapping->dmabuf->origin);
	/* Keep the dead mapping, which reserves the addresses, until the buffer can be mapped. */
	if (bridged)
		src.dmabuf = bridged;
	else
		ret = probe_buffer(ioas, mapping);
	if (!ret)
		ret = map_again(ioas, &src, mapping);
	if (ret)
		goto out;
	if (bridged) {
		pb_bridge_close_pieces(bridged, mapping->offset);
		bridged = pb_origin_replace(mapping, bridged);
	}
	atomic_store(&mapping->state, PB_LIVE);
	pb_origin_watch(mapping->dmabuf->origin, mapping, seen);
out:
	pthread_mutex_unlock(&ioas->lock);
	if (ret)
		ret = pb_fail_map(ioas, &src, true, mapping->iova, ret, err);
	pb_dmabuf_put(bridged);
	return ret;
}

int pb_ioas_check(struct pb_ioas *ioas, unsigned int *nr_found, struct pb_error *err)
{
	struct pb_mapping *mapping;
	unsigned int found = 0;
	int ret = 0;

	pthread_mutex_lock(&ioas->lock);
	LIST_FOREACH(mapping, &ioas->mappings, in_ioas) {
		if (!mapping->dmabuf || pb_mapping_state(mapping) == PB_REVOKED)
			continue;
		ret = probe_buffer(ioas, mapping);
		if (ret == -ENODEV) {
			pb_mapping_mark_revoked(mapping);
			found++;
		} else if (ret) {
			break;
		}
	}
	pthread_mutex_unlock(&ioas->lock);
	if (nr_found)
		*nr_found = found;
	if (ret && ret != -ENODEV)
		return pb_fail_errno(err, -ret,
				     "cannot query which mappings of address space %u "
				     "are revoked (IOMMU_IOAS_MAP_FILE)",
				     ioas->id);
	return 0;
}
