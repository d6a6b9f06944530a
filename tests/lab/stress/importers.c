// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Operations that import buffers: by iommufd, and by the test modules, which also export. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker.h"

/* delay of a late importer that its process releases, unless it is killed before */
#define UNRELEASED_MS 1000

bool op_iommu_map(void)
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
		fail_operation("iommufd mapped a buffer that it must not (id %llu, %u ranges, %s)",
			       (unsigned long long)b.what.id, b.what.nr,
			       dead ? "dead" : "not dead");
	if (ret == -ENODEV && before == phase_of(&b.what) && (before & PHASE_MASK) == PHASE_ON &&
	    !may_be_dead(&b.what) && badf_if_closed(&b) != EBADF)
		fail_operation("iommufd: ENODEV although nobody revoked");
	if (!done(ret, "map", ENODEV, b.what.nr > 1 || b.what.device == TEST ? EOPNOTSUPP : ENODEV,
		  badf_if_closed(&b), 0))
		return true;
	if (!keep_held(iovas, IOVAS, iova, length) && raw_unmap(iommufd, ioas, iova, length))
		fail_operation("unmap failed");
	return true;
}

bool op_iommu_unmap(void)
{
	struct held h;

	if (!take_held(iovas, IOVAS, place.r[0], &h))
		return false;
	done(raw_unmap(iommufd, ioas, h.iova, h.length), "unmap", 0);
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
	int handle = raw_test_attach(importer, b->fd, kind, 0, delay_ms,
				     b->what.device == TEST ? "" : importing_device);

	if (handle >= 0 && !takes)
		fail_operation("an importer of kind %u took model %u", kind, b->what.model);
	if (!done(handle, "attach", ENODEV, takes ? ENODEV : EOPNOTSUPP, badf_if_closed(b), 0))
		return false;
	*h = (struct held){ true, (uint64_t)handle, 0 };
	done(raw_test_map(importer, (uint32_t)handle), "map", ENODEV, 0);
	return true;
}

static void query_importer(uint32_t handle, uint64_t r)
{
	struct peerbar_test_chunks chunks = { .handle = handle };
	struct peerbar_test_pfn pfn = { .handle = handle,
					.max_order = 18,
					.offset = r % 16 * PAGE };
	struct peerbar_test_status status = { .handle = handle };

	done(raw_ioctl(importer, PEERBAR_TEST_STATUS, &status), "status", 0);
	done(raw_ioctl(importer, PEERBAR_TEST_PFN, &pfn), "pfn", ENODEV, ERANGE, EOPNOTSUPP, 0);
	if (done(raw_ioctl(importer, PEERBAR_TEST_CHUNKS, &chunks), "chunks", ENODEV, EOPNOTSUPP,
		 0) &&
	    (chunks.nr_chunks != 1 || !chunks.nr_addrs || chunks.nr_addrs > RANGES))
		fail_operation("%u chunks, %u addresses", chunks.nr_chunks, chunks.nr_addrs);
}

bool op_import(void)
{
	struct buffer b;
	struct held h;

	if (importer < 0)
		return false;
	if (take_held(imports, place.r[0] & 1 ? IMPORTS : 0, place.r[1], &h)) {
		switch (place.r[2] % 4) {
		case 0:
			done(raw_test_map(importer, (uint32_t)h.iova), "map again", EBUSY, ESTALE,
			     ENODEV, 0);
			break;
		case 1:
			/* EINVAL: the importer may have unmapped by itself. */
			done(raw_test_handle(importer, (uint32_t)h.iova, PEERBAR_TEST_UNMAP),
			     "unmap", EINVAL, 0);
			break;
		case 2:
			query_importer((uint32_t)h.iova, place.r[3]);
			break;
		case 3:
			detach(&h);
			return true;
		}
	} else {
		if (!any_buffer(place.r[1], &b))
			return false;
		if (!attach_and_map(&b, (uint32_t)(place.r[2] % (PEERBAR_TEST_KIND_DYNAMIC + 1)), 0,
				    &h))
			return true;
	}
	if (!keep_held(imports, IMPORTS, h.iova, 0))
		detach(&h);
	return true;
}

/*
 * Don't use PEERBAR_TEST_NEVER: a task waits for this importer with the device's memory_lock held,
 * and the exit of this process, which may be killed, may need the lock first, to release a dma-buf
 * or to end a page fault.
 */
bool op_import_late(void)
{
	uint32_t kind = place.r[1] & 1 ? PEERBAR_TEST_KIND_LATE : PEERBAR_TEST_KIND_FENCED;
	bool until_release = place.r[2] % 4 == 0;
	uint32_t delay_ms = until_release ? UNRELEASED_MS : 1 + (uint32_t)(place.r[3] % 20);
	struct buffer b;
	struct held h;

	if (importer < 0 || !any_buffer(place.r[0], &b) || b.what.model == PEERBAR_MODEL_DYNAMIC)
		return false;
	if (!attach_and_map(&b, kind, delay_ms, &h))
		return true;
	if (until_release) {
		pause_us(place.r[3] % 5000);
		done(raw_test_handle(importer, (uint32_t)h.iova, PEERBAR_TEST_RELEASE), "release",
		     0);
	}
	if (until_release || !keep_held(imports, IMPORTS, h.iova, 0))
		detach(&h);
	return true;
}

bool op_test_export(void)
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
		fail_operation("no memory");
	for (offset = 0; offset < w.size; offset += PAGE) {
		number = number_at(&w, offset);
		for (i = 0; i < 4; i++)
			memcpy(bytes + offset + numbered[i], &number, sizeof(number));
	}
	done(raw_test_io(exporter, fd, true, 0, bytes, w.size), "write", 0);
	free(bytes);
	done(raw_query(peerbar, fd, &q), "query", 0);
	if (q.model != w.model || q.length != w.size || q.nr_ranges != w.nr ||
	    q.state != PEERBAR_STATE_LIVE)
		fail_operation("a new test buffer says: model %u, %llu bytes, %u ranges, state %u",
			       q.model, (unsigned long long)q.length, q.nr_ranges, q.state);
	w.id = q.id;
	keep_buffer(fd, &w);
	return true;
}

bool op_test_move(void)
{
	struct peerbar_test_automove automove;
	struct buffer b;

	if (exporter < 0 || !pick_buffer(place.r[0], TEST, TEST, &b) ||
	    b.what.model != PEERBAR_MODEL_DYNAMIC)
		return false;
	if (place.r[1] % 8) {
		done(raw_test_move(exporter, b.fd), "move", EBUSY, ENODEV, badf_if_closed(&b), 0);
		return true;
	}
	automove = (struct peerbar_test_automove){ .fd = b.fd,
						   .period_ms = 1 + (uint32_t)(place.r[2] % 4) };
	if (!done(raw_ioctl(exporter, PEERBAR_TEST_AUTOMOVE, &automove), "automove",
		  badf_if_closed(&b), 0))
		return true;
	pause_us(place.r[3] % 10000);
	touch_all(TEST, b.what.id, place.r[4], 8);
	automove.period_ms = 0;
	/* If the buffer's descriptor was closed, it moves until the exporter is closed. */
	done(raw_ioctl(exporter, PEERBAR_TEST_AUTOMOVE, &automove), "automove", badf_if_closed(&b),
	     0);
	return true;
}

bool op_test_access(void)
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
		if (done(raw_test_access(exporter, b.fd, PEERBAR_TEST_KILL), "kill",
			 pinned ? EOPNOTSUPP : EBADF, badf_if_closed(&b), 0))
			check_dead(&b);
		break;
	case 1:
	case 2:
	case 3:
		done(raw_test_access(exporter, b.fd, PEERBAR_TEST_REVOKE), "revoke",
		     pinned ? EOPNOTSUPP : EBADF, badf_if_closed(&b), 0);
		break;
	default:
		done(raw_test_access(exporter, b.fd, PEERBAR_TEST_RESTORE), "restore",
		     pinned ? EOPNOTSUPP : ENODEV, badf_if_closed(&b), 0);
		break;
	}
	return true;
}
