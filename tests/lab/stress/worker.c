// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A worker of lab-stress, see stress.h: two threads, which each run a sequence of operations chosen
 * by the seed, and check the results.
 *
 * A thread may close a descriptor while the other uses it, which then gets EBADF. The descriptors
 * of buffers and devices get numbers that are not soon reused, so that such a number never refers
 * to another file.
 */
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress.h"

#define OURS "peerbar-vfio-pci"
#define RANGES 4
#define TEST DEVICES /* "device" of the test exporter's buffers */
#define HUGE_PAGES 512

extern char **environ;

/* ---- the current operation ---- */

struct place {
	unsigned int incarnation, thread;
	uint64_t n;
	enum kind kind;
	uint64_t r[8]; /* random numbers for its choices */
};

static unsigned int me;
static __thread struct place place;

__attribute__((format(printf, 1, 2), noreturn)) static void wrong(const char *fmt, ...)
{
	char what[240];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	failed("process %u.%u thread %u operation %llu: %s: %s", me, place.incarnation, place.thread, (unsigned long long)place.n,
	       op_names[place.kind], what);
}

static bool is_done(int ret, const char *call, ...)
{
	bool allowed = false;
	va_list ap;
	int e;

	if (ret >= 0)
		return true;
	va_start(ap, call);
	while ((e = va_arg(ap, int)))
		allowed |= ret == -e;
	va_end(ap);
	if (!allowed)
		wrong("%s: %s", call, strerror(-ret));
	atomic_fetch_add(&shared->refused[place.kind], 1);
	return false;
}

/*
 * Return whether a call succeeded. If it failed, count it as refused if its errno is in the list,
 * which ends with 0; other errnos are failures. The list is evaluated after the call.
 */
#define done(call, ...) ({ int done_ = (call); is_done(done_, __VA_ARGS__); })

/* Check that a call failed with errno @e. */
static void refused(int ret, const char *call, int e)
{
	if (ret != -e)
		wrong("%s: %s, not %s", call, ret < 0 ? strerror(-ret) : "success", strerror(e));
	atomic_fetch_add(&shared->refused[place.kind], 1);
}

static void pause_us(uint64_t us)
{
	struct timespec t = { .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000) };

	nanosleep(&t, NULL);
}

/* Move a descriptor to a number that is not soon reused. */
static int stash(int fd)
{
	static atomic_uint next;
	int high;

	if (fd < 0)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 1000 + (int)(atomic_fetch_add(&next, 1) % 50000));
	if (high < 0)
		wrong("F_DUPFD_CLOEXEC: %s", strerror(errno));
	close(fd);
	return high;
}

/* ---- objects ---- */

/* A buffer, or the object of a mapping. */
struct what {
	uint64_t id; /* 0: the mapping is not of a buffer */
	uint64_t size;
	uint32_t device;
	uint32_t generation;
	uint32_t model;
	uint32_t nr;
	uint64_t tag; /* of the test exporter's buffers */
	struct raw_range ranges[RANGES];
};

struct buffer {
	int fd; /* 0: none */
	struct what what;
};

#define BUFFERS 24

static struct buffer buffers[BUFFERS];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER; /* protects all tables here; must
							        * not be held across calls that
							        * wait */

enum map_kind { OF_BUFFER, OF_COOKIE, OF_REGION };

struct map {
	pthread_rwlock_t lock; /* protects everything below, and the mapping */
	bool used;
	enum map_kind kind;
	bool writable;
	char *p;
	uint64_t length;
	uint64_t offset; /* in the object */
	struct what what;
};

#define MAPS 32

static struct map maps[MAPS];

struct held {
	bool used;
	uint64_t iova, length; /* in the IOAS; or .iova is the test importer's handle */
};

#define IOVAS 24
#define IMPORTS 8

static struct held iovas[IOVAS], imports[IMPORTS];

/* A device's descriptor: its number, its generation in the upper half; 0 if there is none. */
static _Atomic uint64_t slots[DEVICES];
static uint64_t bar_offset[DEVICES], config_offset[DEVICES];
static unsigned int pm_cap[DEVICES];
static pthread_mutex_t control[DEVICES]; /* held during operations of the owner */

static int peerbar, iommufd, importer, exporter;
static uint32_t ioas;
static struct raw_genl genl[THREADS], events[THREADS];
static const char *importing_device;

static int slot_fd(uint64_t slot)
{
	return (int)(uint32_t)slot;
}

static uint32_t slot_generation(uint64_t slot)
{
	return (uint32_t)(slot >> 32);
}

/* Choose a device that this process has open, beginning at @r. */
static bool pick_device(uint64_t r, unsigned int *d, uint64_t *slot)
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

static bool pick_buffer(uint64_t r, unsigned int first_device, unsigned int last_device, struct buffer *b)
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

static bool any_buffer(uint64_t r, struct buffer *b)
{
	return pick_buffer(r, 0, TEST, b);
}

/* Allow EBADF if the other thread has closed the descriptor. */
static int badf_if_closed(const struct buffer *b)
{
	bool there = false;
	unsigned int i;

	pthread_mutex_lock(&table_lock);
	for (i = 0; i < BUFFERS; i++)
		there |= buffers[i].fd == b->fd;
	pthread_mutex_unlock(&table_lock);
	return there ? ENODEV : EBADF;
}

static int badf_if_dropped(unsigned int d, uint64_t slot)
{
	return atomic_load(&slots[d]) == slot ? ENODEV : EBADF;
}

/* ---- the fates of buffers ---- */

static enum fate fate(uint64_t id)
{
	return id && id < IDS ? (enum fate)atomic_load(&shared->fate[id]) : ALIVE;
}

static void set_fate(uint64_t id, enum fate to)
{
	uint8_t from;

	if (!id || id >= IDS)
		return;
	from = atomic_load(&shared->fate[id]);
	while (from < to && !atomic_compare_exchange_weak(&shared->fate[id], &from, (uint8_t)to))
		;
}

static bool is_dead(const struct what *w)
{
	return fate(w->id) == DEAD || (w->device < DEVICES && w->generation <= atomic_load(&shared->devices[w->device].dead));
}

static bool may_be_dead(const struct what *w)
{
	return fate(w->id) != ALIVE || (w->device < DEVICES && w->generation != atomic_load(&shared->devices[w->device].generation));
}

/* ---- tables ---- */

static void forget_map(struct map *m)
{
	if (m->length && munmap(m->p, m->length))
		wrong("munmap: %s", strerror(errno));
	m->used = false;
}

/* Mappings of regions keep the device open. Unmap those of generations that are to be closed. */
static void unmap_regions(unsigned int d)
{
	uint32_t drop = atomic_load(&shared->devices[d].drop);
	unsigned int i;

	for (i = 0; i < MAPS; i++) {
		pthread_rwlock_wrlock(&maps[i].lock);
		if (maps[i].used && maps[i].kind == OF_REGION && maps[i].what.device == d && maps[i].what.generation <= drop)
			forget_map(&maps[i]);
		pthread_rwlock_unlock(&maps[i].lock);
	}
}

/* Replace another buffer if the table is full. */
static void keep_buffer(int fd, const struct what *what)
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

/* Choose a mapping and lock it for reading or writing. */
static struct map *pick_map(uint64_t r, bool write)
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

/* Replace another mapping if the table is full. Unmap the new one if all are locked. */
static void keep_map(const struct map *new)
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
			munmap(new->p, new->length);
			return;
		}
		forget_map(m);
	}
	m->kind = new->kind;
	m->writable = new->writable;
	m->p = new->p;
	m->length = new->length;
	m->offset = new->offset;
	m->what = new->what;
	m->used = true;
	pthread_rwlock_unlock(&m->lock);
	/* The other thread may already have handled a drop of such mappings: check again. */
	if (new->kind == OF_REGION && new->what.generation <= atomic_load(&shared->devices[new->what.device].drop))
		unmap_regions(new->what.device);
}

static bool hold(struct held *table, unsigned int n, uint64_t iova, uint64_t length)
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

static bool let_go(struct held *table, unsigned int n, uint64_t r, struct held *out)
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

/* ---- memory accesses ---- */

static uint32_t phase_of(const struct what *w)
{
	/* The test exporter's buffers have no owner, and may be revoked at any time. */
	return w->device < DEVICES ? atomic_load(&shared->devices[w->device].phase) : PHASE_CHANGING;
}

static uint64_t number_at(const struct what *w, uint64_t offset)
{
	unsigned int i;

	if (w->device == TEST)
		return 0xe000000000000000 | w->tag << 32 | offset / PAGE;
	for (i = 0; i < w->nr; i++) {
		if (offset < w->ranges[i].length)
			return page_number(w->device, w->ranges[i].offset + offset);
		offset -= w->ranges[i].length;
	}
	return 0;
}

static __thread sigjmp_buf escape;
static __thread volatile sig_atomic_t touching;

static void on_signal(int sig)
{
	if (touching && sig == SIGBUS)
		siglongjmp(escape, 1);
	wrong("unexpected %s", strsignal(sig));
}

/* Access a word. Return false on SIGBUS. */
static bool access_word(char *p, bool write, uint64_t *value)
{
	volatile uint64_t *word = (void *)p;

	if (sigsetjmp(escape, 0)) {
		touching = 0;
		return false;
	}
	touching = 1;
	if (write)
		*word = *value;
	else
		*value = *word;
	touching = 0;
	return true;
}

/* Four words of each page have its number; operations write to the others. */
static const uint64_t numbered[] = { 0, 1024, 2048, 4088 };

/*
 * Access a page of a mapping, whose lock the caller must hold, and check the result against the
 * buffer's state.
 */
static void touch(struct map *m, uint64_t r, bool write)
{
	uint64_t page = r % (m->length / PAGE) * PAGE;
	uint64_t word = write ? 64 + (r >> 32) % 100 * 8 : numbered[(r >> 32) % 4];
	uint64_t value = r, right = number_at(&m->what, m->offset + page);
	uint32_t before = phase_of(&m->what), after;
	bool dead = is_dead(&m->what), there;

	there = access_word(m->p + page + word, write, &value);
	after = phase_of(&m->what);
	if (there) {
		if (dead)
			wrong("memory of a buffer that was revoked for good is there (id %llu, device %u, generation %u)",
			      (unsigned long long)m->what.id, m->what.device, m->what.generation);
		if (before == after && (before & PHASE_MASK) == PHASE_OFF)
			wrong("memory of device %u is there although its decoding is off", m->what.device);
		if (!write && value != right)
			wrong("offset 0x%llx of a buffer shows 0x%llx, not 0x%llx", (unsigned long long)(m->offset + page),
			      (unsigned long long)value, (unsigned long long)right);
	} else {
		if (before == after && (before & PHASE_MASK) == PHASE_ON && !may_be_dead(&m->what))
			wrong("SIGBUS although nobody revoked (id %llu, device %u, generation %u)", (unsigned long long)m->what.id,
			      m->what.device, m->what.generation);
		if (m->what.device == TEST && m->what.model == PEERBAR_MODEL_PINNED)
			wrong("SIGBUS in a PINNED buffer");
	}
}

/*
 * Access all mappings of a device, or of one buffer, in this process that the other thread is not
 * changing.
 */
static void touch_all(unsigned int device, uint64_t id, uint64_t r, unsigned int most)
{
	unsigned int i;

	for (i = 0; i < MAPS && most; i++) {
		struct map *m = &maps[(r + i) % MAPS];

		if (pthread_rwlock_tryrdlock(&m->lock))
			continue;
		if (m->used && m->what.device == device && (!id || m->what.id == id)) {
			touch(m, r >> 8, false);
			most--;
		}
		pthread_rwlock_unlock(&m->lock);
	}
}

static bool op_touch(void)
{
	struct map *m = pick_map(place.r[0], false);

	if (!m)
		return false;
	touch(m, place.r[1], false);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

static bool op_write(void)
{
	struct map *m = pick_map(place.r[0], false);

	if (!m)
		return false;
	touch(m, place.r[1], m->writable);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

/* A child inherits the mapping. */
static bool op_fork(void)
{
	struct map *m = pick_map(place.r[0], false);
	unsigned int i;
	int status;
	pid_t pid;

	if (!m)
		return false;
	pid = fork();
	if (pid < 0)
		wrong("fork: %s", strerror(errno));
	if (!pid) {
		for (i = 1; i < 7; i++)
			touch(m, place.r[i], false);
		_exit(0);
	}
	touch(m, place.r[1], false);
	pthread_rwlock_unlock(&m->lock);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		wrong("the child ended with status 0x%x", status);
	return true;
}

/* ---- mappings ---- */

/*
 * Choose addresses in a range of this thread's that nothing else uses, and don't soon reuse them.
 * Align the start to a huge page.
 */
static char *choose_address(uint64_t length)
{
	static __thread uint64_t next;
	uint64_t huge = HUGE_PAGES * PAGE, at = next;

	next = (next + (length + 2 * huge - 1) / huge * huge) % (1ULL << 42);
	return (char *)((1ULL << 44) + place.thread * (1ULL << 43) + at);
}

/* mmap() at an address that permits huge pages, if @length is large enough. */
static void *map_aligned(uint64_t length, int prot, int flags, int fd, uint64_t offset)
{
	void *p;

	if (length < HUGE_PAGES * PAGE)
		return mmap(NULL, length, prot, flags, fd, (off_t)offset);
	do {
		p = mmap(choose_address(length), length, prot, flags | MAP_FIXED_NOREPLACE, fd, (off_t)offset);
	} while (p == MAP_FAILED && errno == EEXIST);
	return p;
}

static bool op_mmap(void)
{
	struct map m = { .kind = OF_BUFFER };
	struct buffer b;
	uint64_t pages;
	bool dead;
	void *p;

	if (!any_buffer(place.r[0], &b))
		return false;
	pages = b.what.size / PAGE;
	/* Map the whole buffer every other time. */
	m.offset = place.r[1] & 1 ? 0 : place.r[2] % pages * PAGE;
	m.length = place.r[1] & 1 ? b.what.size : (1 + place.r[3] % (pages - m.offset / PAGE)) * PAGE;
	m.writable = place.r[1] & 2;
	m.what = b.what;
	dead = is_dead(&b.what);
	p = map_aligned(m.length, PROT_READ | (m.writable ? PROT_WRITE : 0), MAP_SHARED, b.fd, m.offset);
	if (p == MAP_FAILED) {
		if (errno == ENODEV && !may_be_dead(&b.what) && phase_of(&b.what) % 4 == PHASE_ON)
			wrong("mmap: ENODEV although the buffer is not dead");
		done(-errno, "mmap", ENODEV, badf_if_closed(&b), 0);
		return true;
	}
	if (dead)
		wrong("mmap of a dead buffer succeeded");
	m.p = p;
	keep_map(&m);
	return true;
}

static bool op_munmap(void)
{
	struct map *m = pick_map(place.r[0], true);

	if (!m)
		return false;
	forget_map(m);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

/* Unmap a part: at the beginning, at the end, or in the middle. */
static bool op_partial(void)
{
	struct map *m = pick_map(place.r[0], true), rest;
	uint64_t pages, from, n;

	if (!m)
		return false;
	pages = m->length / PAGE;
	if (pages < 2) {
		pthread_rwlock_unlock(&m->lock);
		return false;
	}
	n = 1 + place.r[1] % (pages - 1);
	from = place.r[2] % 3 == 0 ? 0 : place.r[2] % 3 == 1 ? pages - n : place.r[3] % (pages - n + 1);
	if (munmap(m->p + from * PAGE, n * PAGE))
		wrong("munmap: %s", strerror(errno));
	rest = *m;
	rest.p += (from + n) * PAGE;
	rest.offset += (from + n) * PAGE;
	rest.length = (pages - from - n) * PAGE;
	m->length = from * PAGE;
	if (!from)
		m->used = false;
	pthread_rwlock_unlock(&m->lock);
	if (rest.length)
		keep_map(&rest);
	return true;
}

/* Move to another address, sometimes with a smaller size. */
static bool op_mremap(void)
{
	struct map *m = pick_map(place.r[0], true);
	uint64_t length;
	char *to;

	if (!m)
		return false;
	length = place.r[1] % 4 ? m->length : (1 + place.r[2] % (m->length / PAGE)) * PAGE;
	/* Align it for huge pages, or not. */
	to = choose_address(length + HUGE_PAGES * PAGE) + (place.r[3] & 1 ? place.r[3] % HUGE_PAGES * PAGE : 0);
	if (mmap(to, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED) {
		pthread_rwlock_unlock(&m->lock);
		return false;
	}
	if (mremap(m->p, m->length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		wrong("mremap: %s", strerror(errno));
	m->p = to;
	m->length = length;
	touch(m, place.r[4], false);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

static bool op_mprotect(void)
{
	struct map *m = pick_map(place.r[0], true);
	int prot = place.r[1] & 1 ? PROT_READ : PROT_READ | PROT_WRITE;

	if (!m)
		return false;
	if (mprotect(m->p, m->length, prot))
		wrong("mprotect: %s", strerror(errno));
	m->writable = prot & PROT_WRITE;
	touch(m, place.r[2], m->writable);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

/* Describe a range of a BAR like a buffer of one range. */
static struct what one_range(unsigned int d, uint32_t generation, uint64_t offset, uint64_t length)
{
	return (struct what){ .size = length, .device = d, .generation = generation, .model = PEERBAR_MODEL_REVOCABLE, .nr = 1,
			      .ranges = { { offset, length } } };
}

/* Choose some pages of a BAR, sometimes a range that a huge page can map. */
static struct raw_range choose_range(uint64_t r)
{
	uint64_t pages = NUMBERED / PAGE;
	struct raw_range range;

	if (r % 16 == 0) {
		range.offset = (r >> 8) % (NUMBERED / (HUGE_PAGES * PAGE)) * HUGE_PAGES * PAGE;
		range.length = HUGE_PAGES * PAGE;
		return range;
	}
	range.length = (1 + (r >> 8) % (r % 4 ? 8 : 64)) * PAGE;
	range.offset = (r >> 16) % (pages - range.length / PAGE + 1) * PAGE;
	return range;
}

static bool op_cookie(void)
{
	struct raw_range range = choose_range(place.r[1] | 1);
	struct map m = { .kind = OF_COOKIE };
	uint64_t slot, at;
	unsigned int d;
	void *p;

	if (!pick_device(place.r[0], &d, &slot))
		return false;
	if (!done(raw_cookie(slot_fd(slot), GPU_BAR, range.offset, range.length,
			     place.r[2] & 1 ? PEERBAR_MEMATTR_WC : PEERBAR_MEMATTR_NC, &at),
		  "cookie", ENODEV, EBUSY, badf_if_dropped(d, slot), 0))
		return true;
	/* All of it, or without its first page. */
	m.offset = range.length > PAGE && place.r[3] & 1 ? PAGE : 0;
	m.length = range.length - m.offset;
	m.writable = place.r[3] & 2;
	p = mmap(NULL, m.length, PROT_READ | (m.writable ? PROT_WRITE : 0), MAP_SHARED, slot_fd(slot), (off_t)(at + m.offset));
	if (p == MAP_FAILED) {
		done(-errno, "mmap of a cookie", ENODEV, badf_if_dropped(d, slot), 0);
		return true;
	}
	m.p = p;
	m.what = one_range(d, slot_generation(slot), range.offset, range.length);
	keep_map(&m);
	return true;
}

static bool op_region(void)
{
	struct raw_range range = choose_range(place.r[1]);
	struct map m = { .kind = OF_REGION };
	unsigned int d;
	uint64_t slot;
	void *p;

	if (!pick_device(place.r[0], &d, &slot))
		return false;
	m.length = range.length;
	m.writable = place.r[2] & 1;
	p = map_aligned(m.length, PROT_READ | (m.writable ? PROT_WRITE : 0), MAP_SHARED, slot_fd(slot), bar_offset[d] + range.offset);
	if (p == MAP_FAILED) {
		done(-errno, "mmap of a region", ENODEV, badf_if_dropped(d, slot), 0);
		return true;
	}
	m.p = p;
	m.what = one_range(d, slot_generation(slot), range.offset, range.length);
	keep_map(&m);
	return true;
}

/* ---- buffers ---- */

/* Check the state in a query's answer against the buffer's fate and the device's phase. */
static void check_state(const struct what *w, uint32_t state, bool dead, uint32_t before)
{
	uint32_t after = phase_of(w);

	if (dead && state != PEERBAR_STATE_DEAD)
		wrong("a buffer that was revoked for good is in state %u (id %llu)", state, (unsigned long long)w->id);
	if (state == PEERBAR_STATE_DEAD && fate(w->id) == ALIVE && w->device == TEST)
		wrong("a buffer that nobody revoked for good is dead");
	if (before != after || w->device == TEST)
		return;
	if ((before & PHASE_MASK) == PHASE_OFF && state == PEERBAR_STATE_LIVE)
		wrong("a buffer is live although the decoding of device %u is off", w->device);
	if ((before & PHASE_MASK) == PHASE_ON && !may_be_dead(w) && state != PEERBAR_STATE_LIVE) {
		/* The process that caused it may not have recorded it yet. */
		pause_us(200000);
		if (phase_of(w) == before && !may_be_dead(w))
			wrong("a buffer is in state %u although nobody revoked (id %llu, device %u, generation %u, phase 0x%x)", state,
			      (unsigned long long)w->id, w->device, w->generation, before);
	}
}

static bool op_export(void)
{
	struct what w = { .model = PEERBAR_MODEL_REVOCABLE };
	struct peerbar_query q;
	unsigned int i;
	uint64_t slot;
	int fd;

	if (!pick_device(place.r[0], &w.device, &slot))
		return false;
	w.generation = slot_generation(slot);
	w.nr = place.r[1] % 4 ? 1 : 1 + (unsigned int)(place.r[1] >> 8) % RANGES;
	for (i = 0; i < w.nr; i++) {
		w.ranges[i] = choose_range(place.r[2 + i]);
		w.size += w.ranges[i].length;
	}
	fd = raw_export(slot_fd(slot), GPU_BAR, w.ranges, w.nr, O_RDWR | O_CLOEXEC);
	if (!done(fd, "export", ENODEV, badf_if_dropped(w.device, slot), 0))
		return true;
	if (!done(raw_query(peerbar, fd, &q), "query", 0))
		return true;
	if (!(q.flags & PEERBAR_QUERY_OURS) || !(q.flags & PEERBAR_QUERY_MMAP) || q.model != w.model || q.length != w.size ||
	    q.nr_ranges != w.nr || q.memattr != PEERBAR_MEMATTR_NC)
		wrong("a new buffer says: flags 0x%x, model %u, %llu bytes, %u ranges, attribute %u", q.flags, q.model,
		      (unsigned long long)q.length, q.nr_ranges, q.memattr);
	w.id = q.id;
	if (fate(w.id) != ALIVE)
		wrong("a new buffer has a number that was used before: %llu", (unsigned long long)w.id);
	keep_buffer(fd, &w);
	return true;
}

static bool op_close(void)
{
	struct buffer *b = NULL;
	unsigned int i;
	int fd = 0;

	pthread_mutex_lock(&table_lock);
	for (i = 0; i < BUFFERS; i++) {
		unsigned int at = (unsigned int)((place.r[0] + i) % BUFFERS);

		if (!buffers[at].fd)
			continue;
		/* Prefer the first dead one, if there is one. */
		if (!b || is_dead(&buffers[at].what))
			b = &buffers[at];
		if (place.r[1] & 1 || is_dead(&b->what))
			break;
	}
	if (b) {
		fd = b->fd;
		b->fd = 0;
	}
	pthread_mutex_unlock(&table_lock);
	if (!fd)
		return false;
	if (close(fd))
		wrong("close: %s", strerror(errno));
	return true;
}

static bool op_query(void)
{
	struct peerbar_query q;
	struct buffer b;
	uint32_t before;
	bool dead;

	if (!any_buffer(place.r[0], &b))
		return false;
	before = phase_of(&b.what);
	dead = is_dead(&b.what);
	if (!done(raw_query(peerbar, b.fd, &q), "query", badf_if_closed(&b), 0))
		return true;
	if (q.id != b.what.id || q.length != b.what.size || q.model != b.what.model || q.nr_ranges != b.what.nr)
		wrong("buffer %llu says: id %llu, %llu bytes, model %u, %u ranges", (unsigned long long)b.what.id,
		      (unsigned long long)q.id, (unsigned long long)q.length, q.model, q.nr_ranges);
	check_state(&b.what, q.state, dead, before);
	return true;
}

static bool op_info(void)
{
	struct peerbar_info info = { .size = sizeof(info) };

	done(raw_ioctl(peerbar, PEERBAR_INFO, &info), "info", 0);
	if (info.abi != 1 || !(info.caps & PEERBAR_CAP_VFIO))
		wrong("abi %u, capabilities 0x%x", info.abi, info.caps);
	return true;
}

/* Choose a buffer of a device that this process has open. */
static bool pick_own(uint64_t r, struct buffer *b, uint64_t *slot)
{
	if (!pick_buffer(r, 0, DEVICES - 1, b))
		return false;
	*slot = atomic_load(&slots[b->what.device]);
	return *slot;
}

static bool op_set_memattr(void)
{
	uint32_t memattr = place.r[1] % 8 ? place.r[1] & 1 : 2 + (uint32_t)(place.r[2] >> 32);
	struct buffer b;
	uint64_t slot;
	int ret;

	if (!pick_own(place.r[0], &b, &slot))
		return false;
	ret = raw_set_memattr(slot_fd(slot), b.fd, memattr);
	if (ret != -EOPNOTSUPP || memattr < 2)
		/* ENODEV: dead, or exported under an earlier binding of the driver. */
		done(ret, "set memattr", ENODEV, badf_if_closed(&b), badf_if_dropped(b.what.device, slot), 0);
	if (!ret && memattr > 1)
		wrong("an unknown attribute was accepted");
	return true;
}

static bool op_get_memattr(void)
{
	uint32_t memattr = 77;
	struct buffer b;
	uint64_t slot;

	if (!pick_own(place.r[0], &b, &slot))
		return false;
	if (done(raw_get_memattr(slot_fd(slot), b.fd, &memattr), "get memattr", ENODEV, badf_if_closed(&b),
		 badf_if_dropped(b.what.device, slot), 0) && memattr > 1)
		wrong("the attribute is %u", memattr);
	return true;
}

/* Check that no mapping of this process reaches the memory any more. */
static void check_dead(const struct buffer *b)
{
	struct peerbar_query q;

	set_fate(b->what.id, DEAD);
	touch_all(b->what.device, b->what.id, place.r[6], MAPS);
	if (done(raw_query(peerbar, b->fd, &q), "query", badf_if_closed(b), 0) && q.state != PEERBAR_STATE_DEAD)
		wrong("revoked for good, it is in state %u", q.state);
}

static bool op_revoke(void)
{
	struct buffer b;
	uint64_t slot;
	int ret;

	if (!pick_own(place.r[0], &b, &slot))
		return false;
	set_fate(b.what.id, DYING);
	ret = raw_revoke(slot_fd(slot), b.fd);
	/* EBADFD: another thread was first. */
	if (ret == -EBADFD || done(ret, "revoke", b.what.generation == slot_generation(slot) ? EBADF : ENODEV,
				   badf_if_closed(&b), badf_if_dropped(b.what.device, slot), 0))
		check_dead(&b);
	return true;
}

/* Calls with invalid arguments. */
static bool op_refusals(void)
{
	struct raw_range range = { 0, PAGE };
	struct buffer b;
	unsigned int d;
	uint64_t slot;
	int fd, badf;
	void *p;

	if (!pick_device(place.r[0], &d, &slot))
		return false;
	switch (place.r[1] % 8) {
	case 0:
		range.length = 0;
		break;
	case 1:
		range.offset = 1 + place.r[2] % (PAGE - 1);
		break;
	case 2:
		range.length = 1 + place.r[2] % (PAGE - 1);
		break;
	case 3:
		range.offset = 1ULL << (38 + place.r[2] % 20);
		break;
	default:
		if (!any_buffer(place.r[2], &b))
			return false;
		badf = badf_if_closed(&b);
		p = MAP_FAILED;
		if (place.r[1] & 1)
			p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, b.fd, 0);
		else
			p = mmap(NULL, PAGE * (1 + place.r[3] % 4), PROT_READ, MAP_SHARED, b.fd, (off_t)b.what.size);
		if (p != MAP_FAILED)
			wrong("mmap that must not be succeeded");
		done(-errno, "mmap that must not be", EINVAL, badf, badf_if_closed(&b), 0);
		return true;
	}
	fd = raw_export(slot_fd(slot), GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		wrong("export of 0x%llx bytes at 0x%llx succeeded", (unsigned long long)range.length, (unsigned long long)range.offset);
	done(fd, "export that must not be", EINVAL, EOVERFLOW, ENODEV, badf_if_dropped(d, slot), 0);
	return true;
}

/* The operations of dma-buf itself. */
static bool op_poll(void)
{
	struct dma_buf_export_sync_file sync_file = { .flags = DMA_BUF_SYNC_RW };
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_START };
	struct pollfd p = { .events = POLLIN | POLLOUT };
	struct buffer b;

	if (!any_buffer(place.r[0], &b))
		return false;
	p.fd = b.fd;
	switch (place.r[1] % 3) {
	case 0:
		if (poll(&p, 1, 0) < 0)
			wrong("poll: %s", strerror(errno));
		break;
	case 1:
		if (done(raw_ioctl(b.fd, DMA_BUF_IOCTL_SYNC, &sync), "begin of CPU access", badf_if_closed(&b), 0)) {
			sync.flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END;
			done(raw_ioctl(b.fd, DMA_BUF_IOCTL_SYNC, &sync), "end of CPU access", badf_if_closed(&b), 0);
		}
		break;
	case 2:
		if (done(raw_ioctl(b.fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &sync_file), "sync file", badf_if_closed(&b), 0))
			close(sync_file.fd);
		break;
	}
	return true;
}

/* ---- passing descriptors ---- */

struct message {
	bool device;
	struct what what;
};

static unsigned int other_process(uint64_t r)
{
	return (me + 1 + (unsigned int)(r % (shared->processes - 1))) % shared->processes;
}

static bool op_send(void)
{
	struct message message = { .device = false };
	struct buffer b;

	if (shared->processes < 2 || !any_buffer(place.r[0], &b))
		return false;
	message.what = b.what;
	done(raw_send(outbox[other_process(place.r[1])], &message, sizeof(message), b.fd), "send", EAGAIN, EBADF, ETOOMANYREFS, 0);
	return true;
}

static bool op_send_device(void)
{
	struct message message = { .device = true };
	uint64_t slot;

	if (shared->processes < 2 || !pick_device(place.r[0], &message.what.device, &slot))
		return false;
	message.what.generation = slot_generation(slot);
	done(raw_send(outbox[other_process(place.r[1])], &message, sizeof(message), slot_fd(slot)), "send", EAGAIN, EBADF,
	     ETOOMANYREFS, 0);
	return true;
}

static void release_device(unsigned int d);

/* Return false if there is no message. */
static bool receive_one(void)
{
	struct message message;
	uint64_t none = 0, size;
	unsigned int d;
	int fd, ret;

	ret = raw_receive(inbox[me], &message, sizeof(message), &fd);
	if (ret == -EAGAIN)
		return false;
	if (ret != sizeof(message))
		wrong("received %d", ret);
	if (fd < 0)
		return true;
	if (!message.device) {
		keep_buffer(fd, &message.what);
		return true;
	}
	d = message.what.device;
	if (message.what.generation <= atomic_load(&shared->devices[d].drop) || raw_region(fd, GPU_BAR, &bar_offset[d], &size)) {
		close(fd);
		return true;
	}
	fd = stash(fd);
	if (!atomic_compare_exchange_strong(&slots[d], &none, (uint64_t)message.what.generation << 32 | (uint32_t)fd))
		close(fd);
	else if (message.what.generation <= atomic_load(&shared->devices[d].drop))
		release_device(d);
	return true;
}

static bool op_receive(void)
{
	return receive_one();
}

void drain_inbox(int sock)
{
	struct message message;
	int fd;

	while (raw_receive(sock, &message, sizeof(message), &fd) >= 0)
		if (fd >= 0)
			close(fd);
}

/* Close this process's descriptor of a device, and unmap its regions. */
static void release_device(unsigned int d)
{
	uint64_t slot = atomic_exchange(&slots[d], 0);

	if (slot)
		close(slot_fd(slot));
	unmap_regions(d);
}

/* Close descriptors soon after a process requests a drop. */
static void obey_drop(void)
{
	static _Atomic uint32_t obeyed[DEVICES];
	unsigned int d;

	for (d = 0; d < DEVICES; d++) {
		uint32_t drop = atomic_load(&shared->devices[d].drop);
		uint64_t slot = atomic_load(&slots[d]);

		if (slot && slot_generation(slot) <= drop)
			release_device(d);
		if (atomic_exchange(&obeyed[d], drop) == drop)
			continue;
		unmap_regions(d);
		/* Some may be in flight. */
		while (receive_one())
			;
	}
}

/* ---- iommufd ---- */

static bool op_iommu_map(void)
{
	uint64_t pages, start, length, iova = 0;
	uint32_t before, flags = IOMMU_IOAS_MAP_READABLE;
	struct buffer b;
	bool dead;
	int ret;

	if (!any_buffer(place.r[0], &b))
		return false;
	pages = b.what.size / PAGE;
	start = place.r[1] % pages * PAGE;
	length = (1 + place.r[2] % (pages - start / PAGE)) * PAGE;
	if (place.r[3] & 1)
		flags |= IOMMU_IOAS_MAP_WRITEABLE;
	before = phase_of(&b.what);
	dead = is_dead(&b.what);
	ret = raw_map_file(iommufd, ioas, b.fd, start, length, flags, &iova);
	if (!ret && (dead || b.what.nr > 1 || b.what.device == TEST))
		wrong("iommufd mapped a buffer that it must not (id %llu, %u ranges, %s)", (unsigned long long)b.what.id, b.what.nr,
		      dead ? "dead" : "not dead");
	if (ret == -ENODEV && before == phase_of(&b.what) && (before & PHASE_MASK) == PHASE_ON && !may_be_dead(&b.what) &&
	    badf_if_closed(&b) != EBADF)
		wrong("iommufd: ENODEV although nobody revoked");
	if (!done(ret, "map", ENODEV, b.what.nr > 1 || b.what.device == TEST ? EOPNOTSUPP : ENODEV, badf_if_closed(&b), 0))
		return true;
	if (!hold(iovas, IOVAS, iova, length) && raw_unmap(iommufd, ioas, iova, length))
		wrong("unmap failed");
	return true;
}

static bool op_iommu_unmap(void)
{
	struct held h;

	if (!let_go(iovas, IOVAS, place.r[0], &h))
		return false;
	done(raw_unmap(iommufd, ioas, h.iova, h.length), "unmap", 0);
	return true;
}

/* ---- netlink ---- */

static void check_listed(void *arg, const struct raw_buffer *b)
{
	uint64_t *last = arg;

	if (b->id <= *last)
		wrong("buffer %llu is listed after %llu", (unsigned long long)b->id, (unsigned long long)*last);
	*last = b->id;
	if (b->state < PEERBAR_STATE_LIVE || b->state > PEERBAR_STATE_DEAD || !b->model || !b->size || !b->name[0] || !b->exporter[0] ||
	    b->ranges_told != b->nr_ranges || b->importers_told != b->importers)
		wrong("buffer %llu is listed with state %u, model %u, %llu bytes, '%s' of '%s', %u ranges (%u told), %u importers (%u told)",
		      (unsigned long long)b->id, b->state, b->model, (unsigned long long)b->size, b->name, b->exporter, b->nr_ranges,
		      b->ranges_told, b->importers, b->importers_told);
}

static bool op_dump(void)
{
	uint64_t last = 0;

	done(raw_genl_dump(&genl[place.thread], check_listed, &last), "dump", 0);
	return true;
}

static bool op_get(void)
{
	struct raw_buffer told;
	uint64_t last = 0;
	struct buffer b;
	uint32_t before;
	bool dead;

	if (!any_buffer(place.r[0], &b))
		return false;
	before = phase_of(&b.what);
	dead = is_dead(&b.what);
	if (!done(raw_genl_get(&genl[place.thread], b.what.id, &told), "get",
		  badf_if_closed(&b) == EBADF ? ENOENT : EBADF, 0))
		return true;
	check_listed(&last, &told);
	if (told.id != b.what.id || told.size != b.what.size)
		wrong("asked for buffer %llu, got %llu", (unsigned long long)b.what.id, (unsigned long long)told.id);
	check_state(&b.what, told.state, dead, before);
	return true;
}

static bool op_events(void)
{
	struct raw_buffer told;
	int i, ret;

	for (i = 0; i < 64; i++) {
		ret = raw_genl_event(&events[place.thread], &told);
		if (ret == -EAGAIN)
			break;
		if (!done(ret, "event", ENOBUFS, 0))
			continue;
		if (ret < PEERBAR_CMD_BUFFER_CREATED || ret > PEERBAR_CMD_BUFFER_RELEASED || !told.id || !told.name[0] ||
		    told.ranges_told || told.importers_told || told.creator)
			wrong("event %d of buffer %llu, '%s'", ret, (unsigned long long)told.id, told.name);
		if (ret == PEERBAR_CMD_BUFFER_REVOKED && told.state != PEERBAR_STATE_REVOKED && told.state != PEERBAR_STATE_DEAD)
			wrong("revoked, a buffer is announced in state %u", told.state);
		if (ret == PEERBAR_CMD_BUFFER_RESTORED && told.state != PEERBAR_STATE_LIVE)
			wrong("restored, a buffer is announced in state %u", told.state);
	}
	return true;
}

/* ---- the test modules' importers and exporters ---- */

static void detach(const struct held *h)
{
	done(raw_test_handle(importer, (uint32_t)h->iova, PEERBAR_TEST_DETACH), "detach", 0);
}

static bool attach_and_map(const struct buffer *b, uint32_t kind, uint32_t delay_ms, struct held *h)
{
	bool takes = b->what.model == PEERBAR_MODEL_PINNED || kind == PEERBAR_TEST_KIND_DYNAMIC ||
		     (b->what.model == PEERBAR_MODEL_REVOCABLE && kind >= PEERBAR_TEST_KIND_REVOCABLE);
	int handle = raw_test_attach(importer, b->fd, kind, 0, delay_ms, b->what.device == TEST ? "" : importing_device);

	if (handle >= 0 && !takes)
		wrong("an importer of kind %u took model %u", kind, b->what.model);
	if (!done(handle, "attach", ENODEV, takes ? ENODEV : EOPNOTSUPP, badf_if_closed(b), 0))
		return false;
	*h = (struct held){ true, (uint64_t)handle, 0 };
	done(raw_test_map(importer, (uint32_t)handle), "map", ENODEV, 0);
	return true;
}

static void look_inside(uint32_t handle, uint64_t r)
{
	struct peerbar_test_chunks chunks = { .handle = handle };
	struct peerbar_test_pfn pfn = { .handle = handle, .max_order = 18, .offset = r % 16 * PAGE };
	struct peerbar_test_status status = { .handle = handle };

	done(raw_ioctl(importer, PEERBAR_TEST_STATUS, &status), "status", 0);
	done(raw_ioctl(importer, PEERBAR_TEST_PFN, &pfn), "pfn", ENODEV, ERANGE, EOPNOTSUPP, 0);
	if (done(raw_ioctl(importer, PEERBAR_TEST_CHUNKS, &chunks), "chunks", ENODEV, EOPNOTSUPP, 0) &&
	    (chunks.nr_chunks != 1 || !chunks.nr_addrs || chunks.nr_addrs > RANGES))
		wrong("%u chunks, %u addresses", chunks.nr_chunks, chunks.nr_addrs);
}

static bool op_import(void)
{
	struct buffer b;
	struct held h;

	if (importer < 0)
		return false;
	if (let_go(imports, place.r[0] & 1 ? IMPORTS : 0, place.r[1], &h)) {
		switch (place.r[2] % 4) {
		case 0:
			done(raw_test_map(importer, (uint32_t)h.iova), "map again", EBUSY, ESTALE, ENODEV, 0);
			break;
		case 1:
			/* EINVAL: the importer may have unmapped by itself. */
			done(raw_test_handle(importer, (uint32_t)h.iova, PEERBAR_TEST_UNMAP), "unmap", EINVAL, 0);
			break;
		case 2:
			look_inside((uint32_t)h.iova, place.r[3]);
			break;
		case 3:
			detach(&h);
			return true;
		}
	} else {
		if (!any_buffer(place.r[1], &b))
			return false;
		if (!attach_and_map(&b, (uint32_t)(place.r[2] % (PEERBAR_TEST_KIND_DYNAMIC + 1)), 0, &h))
			return true;
	}
	if (!hold(imports, IMPORTS, h.iova, 0))
		detach(&h);
	return true;
}

/* Attach an importer that unmaps late. */
static bool op_import_late(void)
{
	uint32_t kind = place.r[1] & 1 ? PEERBAR_TEST_KIND_LATE : PEERBAR_TEST_KIND_FENCED;
	bool never = place.r[2] % 4 == 0;
	struct buffer b;
	struct held h;

	if (importer < 0 || !any_buffer(place.r[0], &b) || b.what.model == PEERBAR_MODEL_DYNAMIC)
		return false;
	if (!attach_and_map(&b, kind, never ? PEERBAR_TEST_NEVER : 1 + (uint32_t)(place.r[3] % 20), &h))
		return true;
	if (never) {
		pause_us(place.r[3] % 5000);
		done(raw_test_handle(importer, (uint32_t)h.iova, PEERBAR_TEST_RELEASE), "release", 0);
	}
	if (never || !hold(imports, IMPORTS, h.iova, 0))
		detach(&h);
	return true;
}

static bool op_test_export(void)
{
	struct what w = { .device = TEST };
	struct peerbar_query q;
	uint64_t lengths[RANGES], offset, number;
	unsigned int i;
	char *bytes;
	int fd;

	if (exporter < 0)
		return false;
	w.model = PEERBAR_MODEL_PINNED + (uint32_t)(place.r[0] % 3);
	w.nr = 1 + (uint32_t)(place.r[1] % RANGES);
	w.tag = place.r[3] & 0xffffff;
	for (i = 0; i < w.nr; i++) {
		lengths[i] = (1 + (place.r[2] >> 8 * i) % 4) * PAGE;
		w.size += lengths[i];
	}
	fd = raw_test_export(exporter, PEERBAR_TEST_SOURCE_CORE, w.model, lengths, w.nr);
	if (!done(fd, "export", 0))
		return true;
	bytes = calloc(1, w.size);
	if (!bytes)
		wrong("no memory");
	for (offset = 0; offset < w.size; offset += PAGE) {
		number = number_at(&w, offset);
		for (i = 0; i < 4; i++)
			memcpy(bytes + offset + numbered[i], &number, sizeof(number));
	}
	done(raw_test_io(exporter, fd, true, 0, bytes, w.size), "write", 0);
	free(bytes);
	done(raw_query(peerbar, fd, &q), "query", 0);
	if (q.model != w.model || q.length != w.size || q.nr_ranges != w.nr || q.state != PEERBAR_STATE_LIVE)
		wrong("a new test buffer says: model %u, %llu bytes, %u ranges, state %u", q.model, (unsigned long long)q.length, q.nr_ranges,
		      q.state);
	w.id = q.id;
	keep_buffer(fd, &w);
	return true;
}

static bool op_test_move(void)
{
	struct peerbar_test_automove automove;
	struct buffer b;

	if (exporter < 0 || !pick_buffer(place.r[0], TEST, TEST, &b) || b.what.model != PEERBAR_MODEL_DYNAMIC)
		return false;
	if (place.r[1] % 8) {
		done(raw_test_move(exporter, b.fd), "move", EBUSY, ENODEV, badf_if_closed(&b), 0);
		return true;
	}
	automove = (struct peerbar_test_automove){ .fd = b.fd, .period_ms = 1 + (uint32_t)(place.r[2] % 4) };
	if (!done(raw_ioctl(exporter, PEERBAR_TEST_AUTOMOVE, &automove), "automove", badf_if_closed(&b), 0))
		return true;
	pause_us(place.r[3] % 10000);
	touch_all(TEST, b.what.id, place.r[4], 8);
	automove.period_ms = 0;
	/* If the buffer's descriptor was closed, it moves until the exporter is closed. */
	done(raw_ioctl(exporter, PEERBAR_TEST_AUTOMOVE, &automove), "automove", badf_if_closed(&b), 0);
	return true;
}

static bool op_test_access(void)
{
	struct buffer b;
	bool pinned;

	if (exporter < 0 || !pick_buffer(place.r[0], TEST, TEST, &b))
		return false;
	pinned = b.what.model == PEERBAR_MODEL_PINNED;
	switch (place.r[1] % 8) {
	case 0:
		if (!pinned)
			set_fate(b.what.id, DYING);
		if (done(raw_test_access(exporter, b.fd, PEERBAR_TEST_KILL), "kill", pinned ? EOPNOTSUPP : EBADF, badf_if_closed(&b), 0))
			check_dead(&b);
		break;
	case 1:
	case 2:
	case 3:
		done(raw_test_access(exporter, b.fd, PEERBAR_TEST_REVOKE), "revoke", pinned ? EOPNOTSUPP : EBADF, badf_if_closed(&b), 0);
		break;
	default:
		done(raw_test_access(exporter, b.fd, PEERBAR_TEST_RESTORE), "restore", pinned ? EOPNOTSUPP : ENODEV, badf_if_closed(&b), 0);
		break;
	}
	return true;
}

/* ---- operations of the owner ---- */

void doom(struct shared_device *d)
{
	uint32_t s = atomic_load(&d->phase);

	while (!atomic_compare_exchange_weak(&d->phase, &s, ((s + PHASE_STEP) & ~7U) | PHASE_DOOMED | PHASE_CHANGING))
		;
}

/* Return false if the phase is frozen. */
static bool set_phase(unsigned int d, uint32_t phase)
{
	_Atomic uint32_t *p = &shared->devices[d].phase;
	uint32_t s = atomic_load(p);

	return !(s & PHASE_DOOMED) && atomic_compare_exchange_strong(p, &s, ((s + PHASE_STEP) & ~7U) | phase);
}

/* Choose a device that this process owns and has open, and take its control. */
static bool take_control(uint64_t r, unsigned int *d, uint64_t *slot)
{
	unsigned int i;

	for (i = 0; i < DEVICES; i++) {
		*d = (unsigned int)((r + i) % DEVICES);
		if (shared->devices[*d].owner != me || pthread_mutex_trylock(&control[*d]))
			continue;
		*slot = atomic_load(&slots[*d]);
		if (*slot && !(atomic_load(&shared->devices[*d].phase) & PHASE_DOOMED))
			return true;
		pthread_mutex_unlock(&control[*d]);
	}
	return false;
}

/* Check mappings and a buffer while no other thread or process can change the phase. */
static void look_around(unsigned int d, uint64_t r)
{
	struct peerbar_query q;
	struct buffer b;
	uint32_t before;
	bool dead;

	touch_all(d, 0, r, 6);
	if (!pick_buffer(r >> 16, d, d, &b))
		return;
	before = phase_of(&b.what);
	dead = is_dead(&b.what);
	if (done(raw_query(peerbar, b.fd, &q), "query", badf_if_closed(&b), 0))
		check_state(&b.what, q.state, dead, before);
}

/*
 * Turn decoding off and on again, or enter D3hot and D0. Calls fail with EIO or ENODEV while the
 * device is being pulled.
 */
static bool off_and_on(bool power)
{
	unsigned int d;
	uint64_t slot;
	int ret;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	if ((power && !pm_cap[d]) || !set_phase(d, PHASE_CHANGING)) {
		pthread_mutex_unlock(&control[d]);
		return false;
	}
	ret = power ? raw_power(slot_fd(slot), config_offset[d], pm_cap[d], false) : raw_decoding(slot_fd(slot), config_offset[d], false);
	if (done(ret, "off", EIO, ENODEV, badf_if_dropped(d, slot), 0)) {
		set_phase(d, PHASE_OFF);
		look_around(d, place.r[1]);
		pause_us(place.r[2] % 2000);
		touch_all(d, 0, place.r[3], 2);
		set_phase(d, PHASE_CHANGING);
	}
	ret = power ? raw_power(slot_fd(slot), config_offset[d], pm_cap[d], true) : raw_decoding(slot_fd(slot), config_offset[d], true);
	if (done(ret, "on", EIO, ENODEV, badf_if_dropped(d, slot), 0)) {
		set_phase(d, PHASE_ON);
		look_around(d, place.r[4]);
	}
	pthread_mutex_unlock(&control[d]);
	return true;
}

static bool op_decoding(void)
{
	return off_and_on(false);
}

static bool op_power(void)
{
	return off_and_on(true);
}

static bool reset(int (*how)(int fd))
{
	bool flat = lab_has_no_reset();
	unsigned int d;
	uint64_t slot;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	if (set_phase(d, PHASE_CHANGING)) {
		/*
		 * EAGAIN, EBUSY: the kernel is using the device. ENOTTY: QEMU's port reported late
		 * that its link is up.
		 */
		done(how(slot_fd(slot)), "reset", EAGAIN, EBUSY, ENOTTY, flat ? EINVAL : EBUSY, flat ? ENODEV : EBUSY,
		     badf_if_dropped(d, slot), 0);
		set_phase(d, PHASE_ON);
		look_around(d, place.r[1]);
	}
	pthread_mutex_unlock(&control[d]);
	return true;
}

static bool op_reset(void)
{
	return reset(raw_reset);
}

static bool op_hot_reset(void)
{
	return reset(raw_hot_reset);
}

/* Detach the device from the address space with the buffers' mappings, and attach it again. */
static bool op_ioas(void)
{
	unsigned int d;
	uint64_t slot;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	if (done(raw_detach_ioas(slot_fd(slot)), "detach", ENODEV, badf_if_dropped(d, slot), 0))
		done(raw_attach_ioas(slot_fd(slot), ioas), "attach", ENODEV, badf_if_dropped(d, slot), 0);
	pthread_mutex_unlock(&control[d]);
	return true;
}

/*
 * Open a device and begin a new phase, unless the phase is no longer @s. The caller must hold the
 * device's control. There cannot be two opens, so buffers of earlier ones are dead from then on.
 */
static void open_device(unsigned int d, uint32_t s)
{
	struct shared_device *device = &shared->devices[d];
	uint32_t generation;
	uint64_t size;
	int fd, ret;

	fd = raw_open_cdev(device->bdf);
	if (!done(fd, "open", ENODEV, ENXIO, ENOENT, EBUSY, 0))
		return;
	fd = stash(fd);
	ret = raw_bind_iommufd(fd, iommufd);
	/*
	 * EINVAL: another process has not closed it yet. EAGAIN: the kernel was using the device
	 * and could not reset it.
	 */
	if (!done(ret, "bind to the iommufd", EINVAL, ENODEV, EAGAIN, 0)) {
		close(fd);
		pause_us(1000);
		return;
	}
	generation = atomic_load(&device->generation);
	atomic_store(&device->dead, generation);
	generation++;
	ret = raw_attach_ioas(fd, ioas);
	if (!ret)
		ret = raw_region(fd, GPU_BAR, &bar_offset[d], &size);
	if (!ret)
		ret = raw_region(fd, VFIO_PCI_CONFIG_REGION_INDEX, &config_offset[d], &size);
	if (!ret)
		ret = raw_decoding(fd, config_offset[d], true);
	if (!done(ret, "prepare the device", d == HOT ? EIO : EBADF, d == HOT ? ENODEV : EBADF, 0)) {
		close(fd);
		return;
	}
	pm_cap[d] = raw_find_cap(fd, config_offset[d], PCI_CAP_ID_PM);
	atomic_store(&device->generation, generation);
	atomic_store(&slots[d], (uint64_t)generation << 32 | (uint32_t)fd);
	/* Unless it was doomed again meanwhile. */
	atomic_compare_exchange_strong(&device->phase, &s, ((s + PHASE_STEP) & ~7U) | PHASE_ON);
}

static bool is_bound_to_ours(unsigned int d)
{
	char driver[64];

	raw_driver(shared->devices[d].bdf, driver, sizeof(driver));
	return !strcmp(driver, OURS);
}

static bool op_open(void)
{
	bool did = false;
	unsigned int d;

	for (d = 0; d < DEVICES; d++) {
		struct shared_device *device = &shared->devices[d];
		/*
		 * Must be read before @leaving: the plugger sets @leaving, then dooms the device,
		 * which changes the phase.
		 */
		uint32_t s = atomic_load(&device->phase);

		if (device->owner != me || atomic_load(&slots[d]) || !atomic_load(&device->present) || atomic_load(&device->leaving) ||
		    pthread_mutex_trylock(&control[d]))
			continue;
		/* The previous owner may have been killed while it changed the driver. */
		if (!atomic_load(&slots[d]) && d != HOT && !is_bound_to_ours(d)) {
			done(raw_unbind(device->bdf), "unbind", 0);
			done(raw_bind(device->bdf, OURS), "bind", ENODEV, EINVAL, 0);
		}
		if (!atomic_load(&slots[d]) && is_bound_to_ours(d)) {
			open_device(d, s);
			did = true;
		}
		pthread_mutex_unlock(&control[d]);
	}
	return did;
}

/* Request all processes to close it. The owner opens it again as soon as all have. */
static bool op_reopen(void)
{
	unsigned int d;
	uint64_t slot;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	if (set_phase(d, PHASE_CHANGING)) {
		atomic_store(&shared->devices[d].drop, slot_generation(slot));
		if (place.r[1] & 1)
			touch_all(d, 0, place.r[2], 2);
		release_device(d);
		touch_all(d, 0, place.r[3], 2);
	}
	pthread_mutex_unlock(&control[d]);
	return true;
}

/*
 * Unbind in a process of its own, which does not have the device open: unbinding waits until the
 * device is closed, and if this process is killed, its descriptors must be closed nevertheless.
 */
static pid_t unbind_elsewhere(const char *bdf)
{
	char command[128];
	char *argv[] = { "sh", "-c", command, NULL };
	pid_t pid;
	int ret;

	snprintf(command, sizeof(command), "echo %s >/sys/bus/pci/devices/%s/driver/unbind", bdf, bdf);
	ret = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
	if (ret)
		wrong("posix_spawn: %s", strerror(ret));
	return pid;
}

/* Bind the device to the stock driver for a while; peerbar's modules must not be affected. */
static void visit_stock(unsigned int d)
{
	struct raw_range range = { 0, 4 * PAGE };
	struct peerbar_query q;
	uint64_t iova = 0;
	int fd, buffer;

	done(raw_bind(shared->devices[d].bdf, "vfio-pci"), "bind to vfio-pci", 0);
	fd = raw_open_cdev(shared->devices[d].bdf);
	done(fd, "open with vfio-pci", 0);
	done(raw_bind_iommufd(fd, iommufd), "bind to the iommufd", 0);
	done(raw_decoding(fd, config_offset[d], true), "decoding on", 0);
	buffer = raw_export(fd, GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC);
	done(buffer, "export with vfio-pci", 0);
	done(raw_query(peerbar, buffer, &q), "query", 0);
	if (q.flags || q.model != PEERBAR_MODEL_REVOCABLE || q.id || q.length != range.length)
		wrong("a buffer of vfio-pci says: flags 0x%x, model %u, id %llu, %llu bytes", q.flags, q.model, (unsigned long long)q.id,
		      (unsigned long long)q.length);
	done(raw_map_file(iommufd, ioas, buffer, 0, PAGE, IOMMU_IOAS_MAP_READABLE, &iova), "map a buffer of vfio-pci", 0);
	done(raw_unmap(iommufd, ioas, iova, PAGE), "unmap", 0);
	refused(raw_revoke(fd, buffer), "revoke with vfio-pci", ENOTTY);
	close(buffer);
	close(fd);
	done(raw_unbind(shared->devices[d].bdf), "unbind vfio-pci", 0);
}

static void wait_dead(const struct buffer *b)
{
	uint64_t end = now_ns() + 60000000000;
	struct peerbar_query q;

	for (;;) {
		if (!done(raw_query(peerbar, b->fd, &q), "query", badf_if_closed(b), 0) || q.state == PEERBAR_STATE_DEAD)
			return;
		if (now_ns() > end)
			wrong("60 s after its driver was to be unbound, a buffer is in state %u", q.state);
		pause_us(1000);
	}
}

static bool op_rebind(void)
{
	struct raw_range range = { 0, PAGE };
	struct shared_device *device;
	struct buffer b;
	unsigned int d;
	uint64_t slot;
	int status;
	pid_t pid;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	device = &shared->devices[d];
	if (d == HOT || !set_phase(d, PHASE_CHANGING)) {
		pthread_mutex_unlock(&control[d]);
		return false;
	}
	b.what = one_range(d, slot_generation(slot), 0, PAGE);
	b.fd = stash(raw_export(slot_fd(slot), GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC));
	done(b.fd, "export", 0);
	pid = unbind_elsewhere(device->bdf);
	if (place.r[1] & 1) {
		/*
		 * The device is open and in use by other processes: its buffers must die at once.
		 */
		wait_dead(&b);
		refused(raw_export(slot_fd(slot), GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC), "export from a driver that goes", ENODEV);
		touch_all(d, 0, place.r[2], 8);
	}
	atomic_store(&device->drop, slot_generation(slot));
	release_device(d);
	if (waitpid(pid, &status, 0) != pid || status)
		wrong("unbinding ended with status 0x%x", status);
	atomic_store(&device->dead, slot_generation(slot));
	touch_all(d, 0, place.r[3], 8);
	close(b.fd);
	if (place.r[4] & 1)
		visit_stock(d);
	done(raw_bind(device->bdf, OURS), "bind", 0);
	pthread_mutex_unlock(&control[d]);
	return true;
}

/* ---- the loop ---- */

static const struct {
	bool (*run)(void);
	unsigned int weight;
} ops[OPS] = {
	[OP_TOUCH] = { op_touch, 4200 },
	[OP_WRITE] = { op_write, 900 },
	[OP_FORK] = { op_fork, 10 },
	[OP_MMAP] = { op_mmap, 800 },
	[OP_MUNMAP] = { op_munmap, 420 },
	[OP_PARTIAL] = { op_partial, 180 },
	[OP_MREMAP] = { op_mremap, 90 },
	[OP_MPROTECT] = { op_mprotect, 90 },
	[OP_COOKIE] = { op_cookie, 50 },
	[OP_REGION] = { op_region, 80 },
	[OP_EXPORT] = { op_export, 330 },
	[OP_CLOSE] = { op_close, 240 },
	[OP_QUERY] = { op_query, 1300 },
	[OP_INFO] = { op_info, 150 },
	[OP_SET_MEMATTR] = { op_set_memattr, 250 },
	[OP_GET_MEMATTR] = { op_get_memattr, 150 },
	[OP_REVOKE] = { op_revoke, 90 },
	[OP_REFUSALS] = { op_refusals, 80 },
	[OP_POLL] = { op_poll, 200 },
	[OP_SEND] = { op_send, 200 },
	[OP_RECEIVE] = { op_receive, 220 },
	[OP_SEND_DEVICE] = { op_send_device, 30 },
	[OP_IOMMU_MAP] = { op_iommu_map, 250 },
	[OP_IOMMU_UNMAP] = { op_iommu_unmap, 200 },
	[OP_IOAS] = { op_ioas, 6 },
	[OP_DUMP] = { op_dump, 8 },
	[OP_GET] = { op_get, 150 },
	[OP_EVENTS] = { op_events, 50 },
	[OP_IMPORT] = { op_import, 180 },
	[OP_IMPORT_LATE] = { op_import_late, 40 },
	[OP_TEST_EXPORT] = { op_test_export, 25 },
	[OP_TEST_MOVE] = { op_test_move, 120 },
	[OP_TEST_ACCESS] = { op_test_access, 80 },
	[OP_DECODING] = { op_decoding, 25 },
	[OP_POWER] = { op_power, 8 },
	[OP_RESET] = { op_reset, 2 },
	[OP_HOT_RESET] = { op_hot_reset, 1 },
	[OP_OPEN] = { op_open, 300 },
	[OP_REOPEN] = { op_reopen, 3 },
	[OP_REBIND] = { op_rebind, 1 },
};

static enum kind choose(uint64_t r)
{
	static unsigned int total;
	unsigned int sum = 0;
	enum kind kind;

	if (!total) {
		for (kind = 0; kind < OPS; kind++)
			sum += ops[kind].weight;
		total = sum;
	}
	r %= total;
	for (kind = 0; r >= ops[kind].weight; kind++)
		r -= ops[kind].weight;
	return kind;
}

static void *run_thread(void *arg)
{
	unsigned int thread = (unsigned int)(uintptr_t)arg & 0xff, i;
	struct shared_thread *t = &shared->threads[me][thread];
	uint64_t state, begin;

	place.thread = thread;
	place.incarnation = (unsigned int)((uintptr_t)arg >> 8);
	atomic_store(&t->tid, (int)syscall(SYS_gettid));
	while (!atomic_load(&shared->stop)) {
		obey_drop();
		/* The choices depend only on the position in the sequence. */
		state = shared->seed ^ (uint64_t)me << 56 ^ (uint64_t)place.incarnation << 40 ^ (uint64_t)thread << 36;
		state = raw_random(&state) + place.n;
		place.kind = choose(raw_random(&state));
		for (i = 0; i < 8; i++)
			place.r[i] = raw_random(&state);
		begin = now_ns();
		atomic_store(&t->n, place.n);
		atomic_store(&t->since, begin);
		atomic_store(&t->kind, (int)place.kind);
		if (ops[place.kind].run()) {
			atomic_fetch_add(&shared->done[place.kind], 1);
			atomic_fetch_add(&shared->ns[place.kind], now_ns() - begin);
			if (atomic_fetch_add(&shared->operations, 1) + 1 == shared->limit)
				atomic_store(&shared->stop, true);
		}
		atomic_store(&t->kind, -1);
		place.n++;
	}
	return NULL;
}

void worker(unsigned int process, unsigned int incarnation)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };
	struct rlimit files = { 65536, 65536 };
	pthread_t other;
	unsigned int i;

	me = process;
	place.incarnation = incarnation;
	place.kind = OP_OPEN;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	if (setrlimit(RLIMIT_NOFILE, &files))
		wrong("RLIMIT_NOFILE: %s", strerror(errno));
	for (i = 0; i < MAPS; i++)
		pthread_rwlock_init(&maps[i].lock, NULL);
	for (i = 0; i < DEVICES; i++)
		pthread_mutex_init(&control[i], NULL);
	peerbar = raw_open("/dev/peerbar");
	iommufd = raw_open("/dev/iommu");
	done(peerbar, "/dev/peerbar", 0);
	done(iommufd, "/dev/iommu", 0);
	done(raw_ioas(iommufd, &ioas), "IOAS", 0);
	importer = raw_open("/dev/" PEERBAR_TEST_IMPORTER);
	exporter = raw_open("/dev/" PEERBAR_TEST_EXPORTER);
	importing_device = lab_bdf(LAB_NIC);
	for (i = 0; i < THREADS; i++) {
		done(raw_genl_open(&genl[i], false), "netlink", 0);
		done(raw_genl_open(&events[i], true), "netlink", 0);
	}
	if (pthread_create(&other, NULL, run_thread, (void *)(uintptr_t)(1 | incarnation << 8)))
		wrong("no second thread");
	run_thread((void *)(uintptr_t)(incarnation << 8));
	pthread_join(other, NULL);
	_exit(0);
}
