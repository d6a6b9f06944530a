// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Origins: the part of a device that outlives it. An origin lists the mappings of the device's
 * buffers, and marks them revoked.
 */
#include <stdio.h>

#include "internal.h"

struct pb_origin *pb_origin_new(const char *bdf)
{
	struct pb_origin *origin;

	origin = calloc(1, sizeof(*origin));
	if (!origin)
		return NULL;
	atomic_init(&origin->refs, 1);
	atomic_init(&origin->peerbar, -1);
	pthread_mutex_init(&origin->lock, NULL);
	LIST_INIT(&origin->mappings);
	pb_waitlist_init(&origin->restored);
	snprintf(origin->bdf, sizeof(origin->bdf), "%s", bdf);
	return origin;
}

struct pb_origin *pb_origin_get(struct pb_origin *origin)
{
	atomic_fetch_add(&origin->refs, 1);
	return origin;
}

void pb_origin_put(struct pb_origin *origin)
{
	if (!origin || atomic_fetch_sub(&origin->refs, 1) > 1)
		return;
	if (atomic_load(&origin->peerbar) >= 0)
		close(atomic_load(&origin->peerbar));
	pb_waitlist_destroy(&origin->restored);
	pthread_mutex_destroy(&origin->lock);
	free(origin);
}

bool pb_origin_get_kind(struct pb_origin *origin, uint64_t size, struct pb_buffer_info *info)
{
	bool known;

	pthread_mutex_lock(&origin->lock);
	known = origin->known;
	if (known)
		*info = origin->kind;
	pthread_mutex_unlock(&origin->lock);
	info->size = size;
	return known;
}

void pb_origin_store_kind(struct pb_origin *origin, const struct pb_buffer_info *info)
{
	pthread_mutex_lock(&origin->lock);
	/* Leave out the properties of the single buffer. */
	origin->kind = (struct pb_buffer_info){ .model = info->model,
						.basis = info->basis,
						.asked = info->asked,
						.mappable = info->mappable,
						.managed = info->managed,
						.counted = info->counted,
						.bar = -1 };
	memcpy(origin->kind.exporter, info->exporter, sizeof(info->exporter));
	origin->known = true;
	pthread_mutex_unlock(&origin->lock);
}

uint64_t pb_origin_get_revocations(struct pb_origin *origin)
{
	return atomic_load(&origin->revocations);
}

void pb_origin_watch(struct pb_origin *origin, struct pb_mapping *mapping, uint64_t seen)
{
	pthread_mutex_lock(&origin->lock);
	if (!mapping->watched) {
		LIST_INSERT_HEAD(&origin->mappings, mapping, in_origin);
		mapping->watched = true;
	}
	if (origin->revocations != seen || atomic_load(&mapping->dmabuf->dead) ||
	    (mapping->bridge_of && atomic_load(&mapping->bridge_of->dead)))
		pb_mapping_mark_revoked(mapping);
	pthread_mutex_unlock(&origin->lock);
}

void pb_origin_unwatch(struct pb_origin *origin, struct pb_mapping *mapping)
{
	pthread_mutex_lock(&origin->lock);
	if (mapping->watched) {
		LIST_REMOVE(mapping, in_origin);
		mapping->watched = false;
	}
	pthread_mutex_unlock(&origin->lock);
}

struct pb_dmabuf *pb_origin_replace(struct pb_mapping *mapping, struct pb_dmabuf *bridged)
{
	struct pb_dmabuf *old = mapping->dmabuf;

	pthread_mutex_lock(&old->origin->lock);
	mapping->dmabuf = bridged;
	pthread_mutex_unlock(&old->origin->lock);
	return old;
}

void pb_origin_revoke(struct pb_origin *origin)
{
	struct pb_mapping *mapping;

	pthread_mutex_lock(&origin->lock);
	origin->revocations++;
	LIST_FOREACH(mapping, &origin->mappings, in_origin)
		pb_mapping_mark_revoked(mapping);
	pthread_mutex_unlock(&origin->lock);
}

void pb_dmabuf_mark_dead(struct pb_dmabuf *dmabuf)
{
	struct pb_origin *origin = dmabuf->origin;
	struct pb_mapping *mapping;

	pthread_mutex_lock(&origin->lock);
	atomic_store(&dmabuf->dead, true);
	LIST_FOREACH(mapping, &origin->mappings, in_origin)
		if (mapping->dmabuf == dmabuf || mapping->bridge_of == dmabuf)
			pb_mapping_mark_revoked(mapping);
	pthread_mutex_unlock(&origin->lock);
}
