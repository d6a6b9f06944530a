// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The queue of revoked mappings of an address space. */
#include <sys/eventfd.h>

#include "internal.h"

int pb_mapping_events_init(struct pb_mapping_events *events)
{
	events->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (events->fd < 0)
		return -errno;
	pthread_mutex_init(&events->lock, NULL);
	TAILQ_INIT(&events->revoked);
	return 0;
}

void pb_mapping_events_destroy(struct pb_mapping_events *events)
{
	close(events->fd);
	pthread_mutex_destroy(&events->lock);
}

void pb_signal(int fd)
{
	const uint64_t one = 1;

	/* Cannot fail: the counter is drained long before 2^64. */
	if (write(fd, &one, sizeof(one)) < 0)
		(void)0;
}

void pb_mapping_mark_revoked(struct pb_mapping *mapping)
{
	struct pb_mapping_events *events = mapping->events;

	if (atomic_exchange(&mapping->state, PB_REVOKED) == PB_REVOKED)
		return;
	if (mapping->notify_fd) {
		pb_signal(*mapping->notify_fd);
		return;
	}
	pthread_mutex_lock(&events->lock);
	if (!mapping->queued) {
		TAILQ_INSERT_TAIL(&events->revoked, mapping, in_revoked);
		mapping->queued = true;
	}
	pb_signal(events->fd);
	pthread_mutex_unlock(&events->lock);
}

static void drain_events(struct pb_mapping_events *events)
{
	uint64_t count;

	if (TAILQ_EMPTY(&events->revoked) && read(events->fd, &count, sizeof(count)) < 0)
		(void)0; /* EAGAIN: not signaled */
}

void pb_mapping_forget_event(struct pb_mapping *mapping)
{
	struct pb_mapping_events *events = mapping->events;

	/* The caller ensures that no other thread can queue it. */
	if (!mapping->queued)
		return;
	pthread_mutex_lock(&events->lock);
	if (mapping->queued) {
		TAILQ_REMOVE(&events->revoked, mapping, in_revoked);
		mapping->queued = false;
		drain_events(events);
	}
	pthread_mutex_unlock(&events->lock);
}

struct pb_mapping *pb_mapping_events_take(struct pb_mapping_events *events)
{
	struct pb_mapping *mapping;

	pthread_mutex_lock(&events->lock);
	mapping = TAILQ_FIRST(&events->revoked);
	if (mapping) {
		TAILQ_REMOVE(&events->revoked, mapping, in_revoked);
		mapping->queued = false;
	}
	drain_events(events);
	pthread_mutex_unlock(&events->lock);
	return mapping;
}
