// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Wait until a refused operation may succeed: signal the waiter's eventfd when the reason may be
 * gone.
 */
#include "internal.h"

void pb_waitlist_init(struct pb_waitlist *list)
{
	pthread_mutex_init(&list->lock, NULL);
	LIST_INIT(&list->waiters);
	atomic_init(&list->changes, 0);
}

void pb_waitlist_destroy(struct pb_waitlist *list)
{
	pthread_mutex_destroy(&list->lock);
}

uint64_t pb_waitlist_get_changes(const struct pb_waitlist *list)
{
	return atomic_load(&list->changes);
}

void pb_wait_begin(struct pb_waitlist *list, struct pb_waiter *waiter, uint64_t seen)
{
	pthread_mutex_lock(&list->lock);
	if (list->changes != seen) {
		pb_signal(*waiter->notify_fd);
	} else {
		LIST_INSERT_HEAD(&list->waiters, waiter, in_list);
		waiter->list = list;
		waiter->waiting = true;
	}
	pthread_mutex_unlock(&list->lock);
}

void pb_wait_end(struct pb_waiter *waiter)
{
	struct pb_waitlist *list = waiter->list;

	if (!list)
		return;
	pthread_mutex_lock(&list->lock);
	if (waiter->waiting) {
		LIST_REMOVE(waiter, in_list);
		waiter->waiting = false;
	}
	pthread_mutex_unlock(&list->lock);
	waiter->list = NULL;
}

void pb_waitlist_wake(struct pb_waitlist *list, uint64_t first, uint64_t last)
{
	struct pb_waiter *waiter, *next;

	pthread_mutex_lock(&list->lock);
	list->changes++;
	for (waiter = LIST_FIRST(&list->waiters); waiter; waiter = next) {
		next = LIST_NEXT(waiter, in_list);
		if (waiter->first > last || first > waiter->last)
			continue;
		LIST_REMOVE(waiter, in_list);
		waiter->waiting = false;
		pb_signal(*waiter->notify_fd);
	}
	pthread_mutex_unlock(&list->lock);
}
