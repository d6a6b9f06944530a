// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A cache of regions, found by the number of their dma-buf.
 *
 * A hit must not ask the kernel. So each entry has a clock, and the clock's value at which the
 * region was last known to be live. While the clock has that value, the region is live. The clock
 * is
 *
 *	the page of the kernel module	for buffers whose revocations it counts
 *	never_moves			for memory that is never revoked
 *	never_good			for memory whose revocations are not reported
 *
 * If the clock has another value, query the region's state. If it is not known to be live, don't
 * return the region again. Read the clock before the query, so that a later revocation changes it.
 */
#include <inttypes.h>

#include "internal.h"

#define MAX_CAPACITY (1u << 20)

struct pbv_entry {
	struct pbv_mr *mr;
	uint64_t id;
	uint64_t offset;
	uint64_t length;
	int access;
	bool stale; /* must not be found again */
	unsigned int users;
	const volatile uint64_t *clock;
	uint64_t good_at;
	LIST_ENTRY(pbv_entry) in_exact;
	LIST_ENTRY(pbv_entry) in_buffer;
	TAILQ_ENTRY(pbv_entry) in_unused; /* if @users is 0; the least recently used first */
	SLIST_ENTRY(pbv_entry) in_doomed;
};

LIST_HEAD(bucket, pbv_entry);
SLIST_HEAD(doomed, pbv_entry);

struct pbv_cache {
	pthread_mutex_t lock;
	struct ibv_pd *pd;
	unsigned int capacity;
	unsigned int flags;
	unsigned int shift;	/* 64 less the binary logarithm of the number of buckets */
	struct bucket *exact;	/* by dma-buf, part and access */
	struct bucket *buffers; /* by dma-buf */
	TAILQ_HEAD(, pbv_entry) unused;
	struct doomed stuck; /* could not be deregistered */
	const volatile uint64_t *page;
	bool own; /* peerbar's own device; the page counts its revocations */
	struct pbv_cache_stats stats;
};

static const volatile uint64_t never_moves;
static const volatile uint64_t never_good = 1;

static struct bucket *get_exact_bucket(const struct pbv_cache *cache, uint64_t id, uint64_t offset,
				       uint64_t length, int access)
{
	uint64_t h = id * 0x9e3779b97f4a7c15 + offset;

	h = h * 0xbf58476d1ce4e5b9 + length;
	h = h * 0x94d049bb133111eb + (unsigned int)access;
	return &cache->exact[(h ^ h >> 29) * 0x9e3779b97f4a7c15 >> cache->shift];
}

static struct bucket *get_buffer_bucket(const struct pbv_cache *cache, uint64_t id)
{
	return &cache->buffers[id * 0x9e3779b97f4a7c15 >> cache->shift];
}

/* Call the functions below with the lock held. */

static struct pbv_entry *find_entry(const struct pbv_cache *cache, uint64_t id, uint64_t offset,
				    uint64_t length, int access)
{
	struct pbv_entry *entry;

	LIST_FOREACH(entry, get_exact_bucket(cache, id, offset, length, access), in_exact)
		if (entry->id == id && entry->offset == offset && entry->length == length &&
		    entry->access == access)
			return entry;
	/* A larger region. */
	LIST_FOREACH(entry, get_buffer_bucket(cache, id), in_buffer)
		if (entry->id == id && entry->access == access && offset >= entry->offset &&
		    offset - entry->offset <= entry->length &&
		    length <= entry->length - (offset - entry->offset))
			return entry;
	return NULL;
}

static void use_entry(struct pbv_cache *cache, struct pbv_entry *entry)
{
	if (!entry->users++) {
		TAILQ_REMOVE(&cache->unused, entry, in_unused);
		cache->stats.in_use++;
	}
}

static void drop_entry(struct pbv_cache *cache, struct pbv_entry *entry, struct doomed *doomed)
{
	cache->stats.regions--;
	SLIST_INSERT_HEAD(doomed, entry, in_doomed);
}

static void retire_entry(struct pbv_cache *cache, struct pbv_entry *entry, struct doomed *doomed)
{
	if (entry->stale)
		return;
	entry->stale = true;
	LIST_REMOVE(entry, in_exact);
	LIST_REMOVE(entry, in_buffer);
	if (!entry->users) {
		TAILQ_REMOVE(&cache->unused, entry, in_unused);
		drop_entry(cache, entry, doomed);
	}
}

static void make_room(struct pbv_cache *cache, struct doomed *doomed)
{
	struct pbv_entry *entry;

	while (cache->stats.regions > cache->capacity && (entry = TAILQ_FIRST(&cache->unused))) {
		cache->stats.evicted++;
		retire_entry(cache, entry, doomed);
	}
}

static void put_entry(struct pbv_cache *cache, struct pbv_entry *entry, struct doomed *doomed)
{
	if (--entry->users)
		return;
	cache->stats.in_use--;
	if (entry->stale) {
		drop_entry(cache, entry, doomed);
		return;
	}
	TAILQ_INSERT_TAIL(&cache->unused, entry, in_unused);
	if (cache->stats.regions > cache->capacity)
		make_room(cache, doomed);
}

/*
 * Deregister the doomed entries, without the lock. Keep those that fail, because a memory window is
 * bound, for pbv_cache_destroy().
 */
static int free_entries(struct pbv_cache *cache, struct doomed *doomed, struct pb_error *err)
{
	struct pbv_entry *entry;
	int ret, worst = 0;

	while ((entry = SLIST_FIRST(doomed))) {
		SLIST_REMOVE_HEAD(doomed, in_doomed);
		entry->mr->entry = NULL;
		ret = pbv_dereg(entry->mr, err);
		if (!ret) {
			free(entry);
			continue;
		}
		worst = ret;
		entry->mr->entry = entry;
		pthread_mutex_lock(&cache->lock);
		cache->stats.regions++;
		SLIST_INSERT_HEAD(&cache->stuck, entry, in_doomed);
		pthread_mutex_unlock(&cache->lock);
	}
	return worst;
}

/* ---- the cache itself ---- */

int pbv_cache_create(struct ibv_pd *pd, unsigned int capacity, unsigned int flags,
		     struct pbv_cache **cache, struct pb_error *err)
{
	const unsigned int known = PBV_CACHE_UNKNOWN_MODEL | PBV_CACHE_WHOLE | PBV_CACHE_PIN |
		PBV_CACHE_CALLER_TELLS;
	struct pbv_direct direct;
	struct pbv_cache *new;
	unsigned int bits = 4;

	if (!capacity || capacity > MAX_CAPACITY)
		return pbv_fail(err, EINVAL,
				"cannot make a cache of %u regions: it must be 1 to %u", capacity,
				MAX_CAPACITY);
	if (flags & ~known)
		return pbv_fail(err, EINVAL,
				"cannot make a cache with flags 0x%x: those known are 0x%x", flags,
				known);
	while (1u << bits < capacity)
		bits++;
	new = calloc(1, sizeof(*new));
	if (!new)
		return pbv_fail_errno(err, ENOMEM, "cannot make a cache of %u regions", capacity);
	new->exact = calloc(1u << bits, sizeof(*new->exact));
	new->buffers = calloc(1u << bits, sizeof(*new->buffers));
	if (!new->exact || !new->buffers) {
		free(new->exact);
		free(new->buffers);
		free(new);
		return pbv_fail_errno(err, ENOMEM, "cannot make a cache of %u regions", capacity);
	}
	pthread_mutex_init(&new->lock, NULL);
	new->pd = pd;
	new->capacity = capacity;
	new->flags = flags;
	new->shift = 64 - bits;
	TAILQ_INIT(&new->unused);
	SLIST_INIT(&new->stuck);
	new->page = pbv_page_open();
	new->own = pbv_direct_open(&direct, pd->context);
	if (new->own)
		pbv_direct_close(&direct);
	*cache = new;
	return 0;
}

/* Choose the clock that shows the region's revocation. */
static void set_clock(const struct pbv_cache *cache, struct pbv_entry *entry, uint64_t now)
{
	struct pbv_mr *mr = entry->mr;

	entry->clock = &never_good;
	/*
	 * A device follows the moves of a PB_DYNAMIC buffer. Exporters that move memory don't
	 * revoke it.
	 */
	if (mr->model == PB_PINNED || (mr->model == PB_DYNAMIC && !mr->counted)) {
		entry->clock = &never_moves;
	} else if (mr->counted || cache->own) {
		if (cache->page) {
			entry->clock = cache->page;
			entry->good_at = now;
		}
	} else if (cache->flags & PBV_CACHE_CALLER_TELLS) {
		entry->clock = &never_moves;
	}
}

static int add_entry(struct pbv_cache *cache, struct pb_buffer *buffer, uint64_t offset,
		     uint64_t length, int access, struct pbv_mr **mr, struct pb_error *err)
{
	struct doomed doomed = SLIST_HEAD_INITIALIZER(doomed);
	struct pbv_entry *entry, *other;
	uint64_t now;
	int ret;

	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return pbv_fail_errno(err, ENOMEM, "cannot cache a region of 0x%" PRIx64 " bytes",
				      length);
	entry->id = pb_buffer_id(buffer);
	entry->offset = offset;
	entry->length = length;
	entry->access = access;
	entry->users = 1;
	now = cache->page ? __atomic_load_n(cache->page, __ATOMIC_ACQUIRE) : 0;
	ret = pbv_reg_buffer(cache->pd, buffer, offset, length, offset, access,
			     (cache->flags & PBV_CACHE_UNKNOWN_MODEL ? PBV_UNKNOWN_MODEL : 0U) |
				     (cache->flags & PBV_CACHE_PIN ? PBV_PIN : 0U),
			     &entry->mr, err);
	if (ret) {
		free(entry);
		return ret;
	}
	set_clock(cache, entry, now);
	entry->mr->entry = entry;

	pthread_mutex_lock(&cache->lock);
	cache->stats.misses++;
	cache->stats.regions++;
	other = find_entry(cache, entry->id, offset, length, access);
	if (other && __atomic_load_n(other->clock, __ATOMIC_ACQUIRE) == other->good_at) {
		/* Another thread registered it first. */
		drop_entry(cache, entry, &doomed);
		use_entry(cache, other);
		entry = other;
	} else {
		cache->stats.in_use++;
		LIST_INSERT_HEAD(get_exact_bucket(cache, entry->id, offset, length, access), entry,
				 in_exact);
		LIST_INSERT_HEAD(get_buffer_bucket(cache, entry->id), entry, in_buffer);
		make_room(cache, &doomed);
	}
	*mr = entry->mr;
	pthread_mutex_unlock(&cache->lock);
	free_entries(cache, &doomed, NULL);
	return 0;
}

int pbv_cache_get(struct pbv_cache *cache, struct pb_buffer *buffer, uint64_t offset,
		  uint64_t length, int access, struct pbv_mr **mr, struct pb_error *err)
{
	struct doomed doomed = SLIST_HEAD_INITIALIZER(doomed);
	uint64_t id = pb_buffer_id(buffer), now;
	struct pbv_entry *entry;
	bool still;

	if (cache->flags & PBV_CACHE_WHOLE && length && offset <= pb_buffer_size(buffer) &&
	    length <= pb_buffer_size(buffer) - offset) {
		offset = 0;
		length = pb_buffer_size(buffer);
	}
	pthread_mutex_lock(&cache->lock);
	while ((entry = find_entry(cache, id, offset, length, access))) {
		use_entry(cache, entry);
		now = __atomic_load_n(entry->clock, __ATOMIC_ACQUIRE);
		if (now == entry->good_at)
			break;
		cache->stats.checks++;
		pthread_mutex_unlock(&cache->lock);
		/* PBV_UNKNOWN is not sufficient. */
		still = pbv_mr_state(entry->mr) == PBV_LIVE;
		pthread_mutex_lock(&cache->lock);
		if (still && !entry->stale) {
			/* Another thread may have queried later. */
			if (entry->clock == cache->page && now > entry->good_at)
				entry->good_at = now;
			break;
		}
		if (!entry->stale) {
			cache->stats.stale++;
			retire_entry(cache, entry, &doomed);
		}
		put_entry(cache, entry, &doomed);
	}
	if (entry) {
		cache->stats.hits++;
		*mr = entry->mr;
	}
	pthread_mutex_unlock(&cache->lock);
	if (!SLIST_EMPTY(&doomed))
		free_entries(cache, &doomed, NULL);
	return entry ? 0 : add_entry(cache, buffer, offset, length, access, mr, err);
}

void pbv_cache_put(struct pbv_cache *cache, struct pbv_mr *mr)
{
	struct doomed doomed = SLIST_HEAD_INITIALIZER(doomed);

	pthread_mutex_lock(&cache->lock);
	put_entry(cache, mr->entry, &doomed);
	pthread_mutex_unlock(&cache->lock);
	if (!SLIST_EMPTY(&doomed))
		free_entries(cache, &doomed, NULL);
}

void pbv_cache_forget(struct pbv_cache *cache, struct pb_buffer *buffer)
{
	struct doomed doomed = SLIST_HEAD_INITIALIZER(doomed);
	uint64_t id = pb_buffer_id(buffer);
	struct pbv_entry *entry, *next;

	pthread_mutex_lock(&cache->lock);
	for (entry = LIST_FIRST(get_buffer_bucket(cache, id)); entry; entry = next) {
		next = LIST_NEXT(entry, in_buffer);
		if (entry->id == id)
			retire_entry(cache, entry, &doomed);
	}
	pthread_mutex_unlock(&cache->lock);
	free_entries(cache, &doomed, NULL);
}

void pbv_cache_stats_sized(struct pbv_cache *cache, struct pbv_cache_stats *stats, size_t size)
{
	struct pbv_cache_stats now;

	pthread_mutex_lock(&cache->lock);
	now = cache->stats;
	pthread_mutex_unlock(&cache->lock);
	memcpy(stats, &now, size < sizeof(now) ? size : sizeof(now));
	if (size > sizeof(now))
		memset((char *)stats + sizeof(now), 0, size - sizeof(now));
}

int pbv_cache_destroy(struct pbv_cache *cache, struct pb_error *err)
{
	struct doomed doomed = SLIST_HEAD_INITIALIZER(doomed);
	struct pbv_entry *entry;
	unsigned int in_use;
	int ret;

	if (!cache)
		return 0;
	pthread_mutex_lock(&cache->lock);
	in_use = cache->stats.in_use;
	while (!in_use && (entry = TAILQ_FIRST(&cache->unused)))
		retire_entry(cache, entry, &doomed);
	while (!in_use && (entry = SLIST_FIRST(&cache->stuck))) {
		SLIST_REMOVE_HEAD(&cache->stuck, in_doomed);
		drop_entry(cache, entry, &doomed);
	}
	pthread_mutex_unlock(&cache->lock);
	if (in_use)
		return pbv_fail(err, EBUSY,
				"cannot destroy a cache: %u of its regions are in use; "
				"release them with pbv_cache_put()",
				in_use);
	ret = free_entries(cache, &doomed, err);
	if (ret)
		return ret;
	pbv_page_close(cache->page);
	pthread_mutex_destroy(&cache->lock);
	free(cache->exact);
	free(cache->buffers);
	free(cache);
	return 0;
}
