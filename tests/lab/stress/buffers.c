// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Operations on buffers, and what netlink reports of them. */
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker.h"

void check_state(const struct what *w, uint32_t state, bool dead, uint32_t before)
{
	uint32_t after = phase_of(w);

	if (dead && state != PEERBAR_STATE_DEAD)
		fail_operation("a buffer that was revoked permanently is in state %u (id %llu)",
			       state, (unsigned long long)w->id);
	if (state == PEERBAR_STATE_DEAD && fate(w->id) == ALIVE && w->device == TEST)
		fail_operation("a buffer that nobody revoked permanently is dead");
	if (before != after || w->device == TEST)
		return;
	if ((before & PHASE_MASK) == PHASE_OFF && state == PEERBAR_STATE_LIVE)
		fail_operation("a buffer is live although the decoding of device %u is off",
			       w->device);
	if ((before & PHASE_MASK) == PHASE_ON && !may_be_dead(w) && state != PEERBAR_STATE_LIVE) {
		/* The process that caused it may not have recorded it yet. */
		pause_us(200000);
		if (phase_of(w) == before && !may_be_dead(w))
			fail_operation("a buffer is in state %u although nobody revoked (id %llu, device %u, generation %u, phase 0x%x)",
				       state, (unsigned long long)w->id, w->device, w->generation,
				       before);
	}
}

bool op_export(void)
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
	if (!(q.flags & PEERBAR_QUERY_OURS) || !(q.flags & PEERBAR_QUERY_MMAP) ||
	    q.model != w.model || q.length != w.size || q.nr_ranges != w.nr ||
	    q.memattr != PEERBAR_MEMATTR_NC)
		fail_operation("a new buffer says: flags 0x%x, model %u, %llu bytes, %u ranges, attribute %u",
			       q.flags, q.model, (unsigned long long)q.length, q.nr_ranges,
			       q.memattr);
	w.id = q.id;
	if (fate(w.id) != ALIVE)
		fail_operation("a new buffer has a number that was used before: %llu",
			       (unsigned long long)w.id);
	keep_buffer(fd, &w);
	return true;
}

bool op_close(void)
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
		fail_operation("close: %s", strerror(errno));
	return true;
}

bool op_query(void)
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
	if (q.id != b.what.id || q.length != b.what.size || q.model != b.what.model ||
	    q.nr_ranges != b.what.nr)
		fail_operation("buffer %llu says: id %llu, %llu bytes, model %u, %u ranges",
			       (unsigned long long)b.what.id, (unsigned long long)q.id,
			       (unsigned long long)q.length, q.model, q.nr_ranges);
	check_state(&b.what, q.state, dead, before);
	return true;
}

bool op_info(void)
{
	struct peerbar_info info = { .size = sizeof(info) };

	done(raw_ioctl(peerbar, PEERBAR_INFO, &info), "info", 0);
	if (info.abi != 1 || !(info.caps & PEERBAR_CAP_VFIO))
		fail_operation("abi %u, capabilities 0x%x", info.abi, info.caps);
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

bool op_set_memattr(void)
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
		done(ret, "set memattr", ENODEV, badf_if_closed(&b),
		     badf_if_dropped(b.what.device, slot), 0);
	if (!ret && memattr > 1)
		fail_operation("an unknown attribute was accepted");
	return true;
}

bool op_get_memattr(void)
{
	uint32_t memattr = 77;
	struct buffer b;
	uint64_t slot;

	if (!pick_own(place.r[0], &b, &slot))
		return false;
	if (done(raw_get_memattr(slot_fd(slot), b.fd, &memattr), "get memattr", ENODEV,
		 badf_if_closed(&b), badf_if_dropped(b.what.device, slot), 0) &&
	    memattr > 1)
		fail_operation("the attribute is %u", memattr);
	return true;
}

void check_dead(const struct buffer *b)
{
	struct peerbar_query q;

	set_fate(b->what.id, DEAD);
	touch_all(b->what.device, b->what.id, place.r[6], MAPS);
	if (done(raw_query(peerbar, b->fd, &q), "query", badf_if_closed(b), 0) &&
	    q.state != PEERBAR_STATE_DEAD)
		fail_operation("revoked permanently, it is in state %u", q.state);
}

bool op_revoke(void)
{
	struct buffer b;
	uint64_t slot;
	int ret;

	if (!pick_own(place.r[0], &b, &slot))
		return false;
	set_fate(b.what.id, DYING);
	ret = raw_revoke(slot_fd(slot), b.fd);
	/* EBADFD: another thread was first. */
	if (ret == -EBADFD ||
	    done(ret, "revoke", b.what.generation == slot_generation(slot) ? EBADF : ENODEV,
		 badf_if_closed(&b), badf_if_dropped(b.what.device, slot), 0))
		check_dead(&b);
	return true;
}

bool op_refusals(void)
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
			p = mmap(NULL, PAGE * (1 + place.r[3] % 4), PROT_READ, MAP_SHARED, b.fd,
				 (off_t)b.what.size);
		if (p != MAP_FAILED)
			fail_operation("mmap that must not be succeeded");
		done(-errno, "mmap that must not be", EINVAL, badf, badf_if_closed(&b), 0);
		return true;
	}
	fd = raw_export(slot_fd(slot), GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		fail_operation("export of 0x%llx bytes at 0x%llx succeeded",
			       (unsigned long long)range.length, (unsigned long long)range.offset);
	done(fd, "export that must not be", EINVAL, EOVERFLOW, ENODEV, badf_if_dropped(d, slot), 0);
	return true;
}

bool op_poll(void)
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
			fail_operation("poll: %s", strerror(errno));
		break;
	case 1:
		if (done(raw_ioctl(b.fd, DMA_BUF_IOCTL_SYNC, &sync), "begin of CPU access",
			 badf_if_closed(&b), 0)) {
			sync.flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END;
			done(raw_ioctl(b.fd, DMA_BUF_IOCTL_SYNC, &sync), "end of CPU access",
			     badf_if_closed(&b), 0);
		}
		break;
	case 2:
		if (done(raw_ioctl(b.fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &sync_file), "sync file",
			 badf_if_closed(&b), 0))
			close(sync_file.fd);
		break;
	}
	return true;
}

/* ---- netlink ---- */

static void check_listed(void *arg, const struct raw_buffer *b)
{
	uint64_t *last = arg;

	if (b->id <= *last)
		fail_operation("buffer %llu is listed after %llu", (unsigned long long)b->id,
			       (unsigned long long)*last);
	*last = b->id;
	if (b->state < PEERBAR_STATE_LIVE || b->state > PEERBAR_STATE_DEAD || !b->model ||
	    !b->size || !b->name[0] || !b->exporter[0] || b->ranges_told != b->nr_ranges ||
	    b->importers_told != b->importers)
		fail_operation("buffer %llu is listed with state %u, model %u, %llu bytes, '%s' of '%s', %u ranges (%u told), %u "
			       "importers (%u told)",
			       (unsigned long long)b->id, b->state, b->model,
			       (unsigned long long)b->size, b->name, b->exporter, b->nr_ranges,
			       b->ranges_told, b->importers, b->importers_told);
}

bool op_dump(void)
{
	uint64_t last = 0;

	done(raw_genl_dump(&genl[place.thread], check_listed, &last), "dump", 0);
	return true;
}

bool op_get(void)
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
		fail_operation("asked for buffer %llu, got %llu", (unsigned long long)b.what.id,
			       (unsigned long long)told.id);
	check_state(&b.what, told.state, dead, before);
	return true;
}

bool op_events(void)
{
	struct raw_buffer told;
	int i, ret;

	for (i = 0; i < 64; i++) {
		ret = raw_genl_event(&events[place.thread], &told);
		if (ret == -EAGAIN)
			break;
		if (!done(ret, "event", ENOBUFS, 0))
			continue;
		if (ret < PEERBAR_CMD_BUFFER_CREATED || ret > PEERBAR_CMD_BUFFER_RELEASED ||
		    !told.id || !told.name[0] || told.ranges_told || told.importers_told ||
		    told.creator)
			fail_operation("event %d of buffer %llu, '%s'", ret,
				       (unsigned long long)told.id, told.name);
		if (ret == PEERBAR_CMD_BUFFER_REVOKED && told.state != PEERBAR_STATE_REVOKED &&
		    told.state != PEERBAR_STATE_DEAD)
			fail_operation("revoked, a buffer is announced in state %u", told.state);
		if (ret == PEERBAR_CMD_BUFFER_RESTORED && told.state != PEERBAR_STATE_LIVE)
			fail_operation("restored, a buffer is announced in state %u", told.state);
	}
	return true;
}
