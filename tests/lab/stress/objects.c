// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Buffers, mappings and devices of a worker, and the fates of buffers. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker.h"

int stash(int fd)
{
	static atomic_uint next;
	int high;

	if (fd < 0)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 1000 + (int)(atomic_fetch_add(&next, 1) % 50000));
	if (high < 0)
		fail_operation("F_DUPFD_CLOEXEC: %s", strerror(errno));
	close(fd);
	return high;
}

struct buffer buffers[BUFFERS];
pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

struct map maps[MAPS];

struct held iovas[IOVAS], imports[IMPORTS];

_Atomic uint64_t slots[DEVICES];
uint64_t bar_offset[DEVICES], config_offset[DEVICES];
unsigned int pm_cap[DEVICES];
pthread_mutex_t control[DEVICES];

int slot_fd(uint64_t slot)
{
	return (int)(uint32_t)slot;
}

uint32_t slot_generation(uint64_t slot)
{
	return (uint32_t)(slot >> 32);
}

bool pick_device(uint64_t r, unsigned int *d, uint64_t *slot)
{
	unsigned int i;

	for (i = 0; i < DEVICES; i++) {
		*d = (unsigned int)((r + i) % DEVICES);
		*slot = atomic_load(&slots[*d]);
		if (*slot)
			return true;
	}
	return false;
}

bool pick_buffer(uint64_t r, unsigned int first_device, unsigned int last_device, struct buffer *b)
{
	bool found = false;
	unsigned int i;

	pthread_mutex_lock(&table_lock);
	for (i = 0; i < BUFFERS && !found; i++) {
		*b = buffers[(r + i) % BUFFERS];
		found = b->fd && b->what.device >= first_device && b->what.device <= last_device;
	}
	pthread_mutex_unlock(&table_lock);
	return found;
}

bool any_buffer(uint64_t r, struct buffer *b)
{
	return pick_buffer(r, 0, TEST, b);
}

int badf_if_closed(const struct buffer *b)
{
	bool there = false;
	unsigned int i;

	pthread_mutex_lock(&table_lock);
	for (i = 0; i < BUFFERS; i++)
		there |= buffers[i].fd == b->fd;
	pthread_mutex_unlock(&table_lock);
	return there ? ENODEV : EBADF;
}

int badf_if_dropped(unsigned int d, uint64_t slot)
{
	return atomic_load(&slots[d]) == slot ? ENODEV : EBADF;
}

/* ---- the fates of buffers ---- */

enum fate fate(uint64_t id)
{
	return id && id < IDS ? (enum fate)atomic_load(&shared->fate[id]) : ALIVE;
}

void set_fate(uint64_t id, enum fate to)
{
	uint8_t from;

	if (!id || id >= IDS)
		return;
	from = atomic_load(&shared->fate[id]);
	while (from < to && !atomic_compare_exchange_weak(&shared->fate[id], &from, (uint8_t)to))
		;
}

bool is_dead(const struct what *w)
{
	return fate(w->id) == DEAD ||
		(w->device < DEVICES &&
		 w->generation <= atomic_load(&shared->devices[w->device].dead));
}

bool may_be_dead(const struct what *w)
{
	return fate(w->id) != ALIVE ||
		(w->device < DEVICES &&
		 w->generation != atomic_load(&shared->devices[w->device].generation));
}

/* ---- tables ---- */

void forget_map(struct map *m)
{
	if (m->length && munmap(m->p, m->length))
		fail_operation("munmap: %s", strerror(errno));
	m->used = false;
}

void unmap_regions(unsigned int d)
{
	uint32_t drop = atomic_load(&shared->devices[d].drop);
	unsigned int i;

	for (i = 0; i < MAPS; i++) {
		pthread_rwlock_wrlock(&maps[i].lock);
		if (maps[i].used && maps[i].kind == OF_REGION && maps[i].what.device == d &&
		    maps[i].what.generation <= drop)
			forget_map(&maps[i]);
		pthread_rwlock_unlock(&maps[i].lock);
	}
}

void keep_buffer(int fd, const struct what *what)
{
	unsigned int i, at = (unsigned int)(place.r[7] % BUFFERS);
	int old;

	fd = stash(fd);
	pthread_mutex_lock(&table_lock);
	/* Prefer to replace a dead one. */
	for (i = 0; i < BUFFERS && buffers[i].fd; i++)
		if (is_dead(&buffers[i].what))
			at = i;
	if (i < BUFFERS)
		at = i;
	old = buffers[at].fd;
	buffers[at] = (struct buffer){ fd, *what };
	pthread_mutex_unlock(&table_lock);
	if (old)
		close(old);
}

struct map *pick_map(uint64_t r, bool write)
{
	unsigned int i;

	for (i = 0; i < MAPS; i++) {
		struct map *m = &maps[(r + i) % MAPS];

		if (write ? pthread_rwlock_trywrlock(&m->lock) : pthread_rwlock_tryrdlock(&m->lock))
			continue;
		if (m->used)
			return m;
		pthread_rwlock_unlock(&m->lock);
	}
	return NULL;
}

void keep_map(const struct map *created)
{
	struct map *m = NULL;
	unsigned int i;

	for (i = 0; i < MAPS && !m; i++) {
		if (pthread_rwlock_trywrlock(&maps[i].lock))
			continue;
		if (maps[i].used)
			pthread_rwlock_unlock(&maps[i].lock);
		else
			m = &maps[i];
	}
	if (!m) {
		m = pick_map(place.r[7], true);
		if (!m) {
			munmap(created->p, created->length);
			return;
		}
		forget_map(m);
	}
	m->kind = created->kind;
	m->writable = created->writable;
	m->p = created->p;
	m->length = created->length;
	m->offset = created->offset;
	m->what = created->what;
	m->used = true;
	pthread_rwlock_unlock(&m->lock);
	/* The other thread may already have handled a drop of such mappings: check again. */
	if (created->kind == OF_REGION &&
	    created->what.generation <= atomic_load(&shared->devices[created->what.device].drop))
		unmap_regions(created->what.device);
}

bool keep_held(struct held *table, unsigned int n, uint64_t iova, uint64_t length)
{
	bool held = false;
	unsigned int i;

	pthread_mutex_lock(&table_lock);
	for (i = 0; i < n && !held; i++) {
		if (table[i].used)
			continue;
		table[i] = (struct held){ true, iova, length };
		held = true;
	}
	pthread_mutex_unlock(&table_lock);
	return held;
}

bool take_held(struct held *table, unsigned int n, uint64_t r, struct held *out)
{
	bool found = false;
	unsigned int i;

	pthread_mutex_lock(&table_lock);
	for (i = 0; i < n && !found; i++) {
		struct held *h = &table[(r + i) % n];

		if (!h->used)
			continue;
		*out = *h;
		h->used = false;
		found = true;
	}
	pthread_mutex_unlock(&table_lock);
	return found;
}
