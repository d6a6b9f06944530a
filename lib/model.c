// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The properties of a dma-buf. The kernel module peerbar is the first source. If it is not loaded
 * or does not know the model, the model follows from the exporter's name, by a table.
 * docs/models.md has the reason for each row. An exporter that is not in the table is UNKNOWN: with
 * a wrong guess, an importer would keep using memory that has moved.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "internal.h"

static const struct {
	const char *exporter;
	enum pb_model model;
	enum pb_place place;
} exporters[] = {
	/* memory of a PCI BAR: does not move; reset, decoding off or close revokes it */
	{ "peerbar_vfio_pci", PB_REVOCABLE, PB_PLACE_BAR },
	{ "vfio_pci_core", PB_REVOCABLE, PB_PLACE_BAR },
	/* doorbell and memory pages of an RDMA NIC, until the driver revokes them */
	{ "ib_uverbs", PB_REVOCABLE, PB_PLACE_BAR },
	/* pages of a memfd, pinned for the lifetime of the dma-buf */
	{ "udmabuf", PB_PINNED, PB_PLACE_SYSTEM },
	/* heaps never move or revoke their memory */
	{ "system", PB_PINNED, PB_PLACE_SYSTEM },
	{ "default_cma_region", PB_PINNED, PB_PLACE_SYSTEM },
	/*
	 * There is no DYNAMIC row: all GPU drivers have the exporter name "drm", those that move
	 * their buffers (amdgpu, xe, nouveau, radeon) and those that never do. So "drm" is UNKNOWN.
	 */
};

const char *pb_model_name(enum pb_model model)
{
	switch (model) {
	case PB_PINNED:
		return "PINNED";
	case PB_REVOCABLE:
		return "REVOCABLE";
	case PB_DYNAMIC:
		return "DYNAMIC";
	default:
		return "UNKNOWN";
	}
}

const char *pb_model_basis_name(enum pb_model_basis basis)
{
	switch (basis) {
	case PB_BASIS_NAME:
		return "NAME";
	case PB_BASIS_DERIVED:
		return "DERIVED";
	case PB_BASIS_DECLARED:
		return "DECLARED";
	default:
		return "NONE";
	}
}

const char *pb_answer_name(enum pb_answer answer)
{
	switch (answer) {
	case PB_ANSWER_NO:
		return "NO";
	case PB_ANSWER_YES:
		return "YES";
	default:
		return "UNKNOWN";
	}
}

const char *pb_place_name(enum pb_place place)
{
	switch (place) {
	case PB_PLACE_SYSTEM:
		return "SYSTEM";
	case PB_PLACE_BAR:
		return "BAR";
	case PB_PLACE_DEVICE:
		return "DEVICE";
	default:
		return "UNKNOWN";
	}
}

const char *pb_buffer_state_name(enum pb_buffer_state state)
{
	switch (state) {
	case PB_BUFFER_LIVE:
		return "LIVE";
	case PB_BUFFER_REVOKED:
		return "REVOKED";
	case PB_BUFFER_DEAD:
		return "DEAD";
	default:
		return "UNKNOWN";
	}
}

const char *pb_memattr_name(enum pb_memattr memattr)
{
	switch (memattr) {
	case PB_NC:
		return "NC";
	case PB_WC:
		return "WC";
	case PB_WB:
		return "WB";
	case PB_DEV:
		return "DEV";
	default:
		return "OTHER";
	}
}

enum pb_model pb_exporter_model(const char *exporter)
{
	size_t i;

	for (i = 0; exporter && i < sizeof(exporters) / sizeof(exporters[0]); i++)
		if (!strcmp(exporter, exporters[i].exporter))
			return exporters[i].model;
	return PB_UNKNOWN;
}

int pb_model_accept(enum pb_model model, bool accept_unknown, const char *exporter,
		    struct pb_error *err)
{
	switch (model) {
	case PB_PINNED:
	case PB_REVOCABLE:
		return 0;
	case PB_DYNAMIC:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map a buffer of the exporter '%s': its memory model is DYNAMIC, so it may move at any time, and "
			       "iommufd cannot follow; PINNED and REVOCABLE buffers can be mapped",
			       exporter);
	default:
		if (accept_unknown)
			return 0;
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map a buffer of the exporter '%s': its memory model is "
			       "UNKNOWN, so it may move; PB_MAP_UNKNOWN_MODEL maps it anyway",
			       exporter);
	}
}

/*
 * The kernel writes "size:", "count:" and "exp_name:" before "name:". Only the name can be set by a
 * user, to anything, including newlines. So use the first line of each key, and parse the name
 * last.
 */
static bool get_first_line(const char *text, const char *key, char *value, size_t size)
{
	size_t len = strlen(key);
	const char *line;

	for (line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		size_t n;

		if (strncmp(line, key, len) || line[len] != ':')
			continue;
		line += len + 1;
		line += strspn(line, " \t");
		n = strcspn(line, "\n");
		if (n >= size)
			n = size - 1;
		memcpy(value, line, n);
		value[n] = '\0';
		return true;
	}
	return false;
}

void pb_parse_fdinfo(const char *text, struct pb_fdinfo *info)
{
	char value[32];
	char *end;

	memset(info, 0, sizeof(*info));
	if (!get_first_line(text, "exp_name", info->exporter, sizeof(info->exporter)) ||
	    !get_first_line(text, "size", value, sizeof(value)))
		return;
	errno = 0;
	info->size = strtoull(value, &end, 10);
	if (errno || *end || end == value)
		return;
	get_first_line(text, "name", info->name, sizeof(info->name));
	info->is_dmabuf = true;
}

/* ---- the kernel module peerbar ---- */

/* The kernel's numbers are passed through. */
_Static_assert(sizeof(((struct peerbar_query *)0)->exporter) <= PB_NAME_LEN &&
		       sizeof(((struct peerbar_query *)0)->name) <= PB_NAME_LEN,
	       "names");
_Static_assert((int)PB_DYNAMIC == PEERBAR_MODEL_DYNAMIC &&
		       (int)PB_REVOCABLE == PEERBAR_MODEL_REVOCABLE &&
		       (int)PB_PINNED == PEERBAR_MODEL_PINNED,
	       "models");
_Static_assert((int)PB_BUFFER_LIVE == PEERBAR_STATE_LIVE &&
		       (int)PB_BUFFER_REVOKED == PEERBAR_STATE_REVOKED &&
		       (int)PB_BUFFER_DEAD == PEERBAR_STATE_DEAD,
	       "states");
_Static_assert((int)PB_BASIS_NAME == PEERBAR_BASIS_NAME &&
		       (int)PB_BASIS_DERIVED == PEERBAR_BASIS_DERIVED &&
		       (int)PB_BASIS_DECLARED == PEERBAR_BASIS_DECLARED,
	       "bases");
_Static_assert((int)PB_ANSWER_NO == PEERBAR_ANSWER_NO && (int)PB_ANSWER_YES == PEERBAR_ANSWER_YES &&
		       (int)PB_PLACE_SYSTEM == PEERBAR_PLACE_SYSTEM &&
		       (int)PB_PLACE_BAR == PEERBAR_PLACE_BAR &&
		       (int)PB_PLACE_DEVICE == PEERBAR_PLACE_DEVICE,
	       "answers and places");
_Static_assert((int)PB_NC == PEERBAR_MEMATTR_NC && (int)PB_WC == PEERBAR_MEMATTR_WC &&
		       (int)PB_WB == PEERBAR_MEMATTR_WB && (int)PB_DEV == PEERBAR_MEMATTR_DEV,
	       "attributes");

int pb_open_module(void)
{
	int fd = open("/dev/peerbar", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int pb_query_module(struct peerbar_info *info)
{
	int fd = pb_open_module(), ret;

	if (fd < 0)
		return fd;
	*info = (struct peerbar_info){ .size = sizeof(*info) };
	ret = pb_ioctl(fd, PEERBAR_INFO, info);
	close(fd);
	return ret;
}

static int query_module(struct pb_origin *origin, int fd, bool probe, struct peerbar_query *query)
{
	int kept = atomic_load(&origin->peerbar), none = -1;
	int peerbar = kept >= 0 ? kept : pb_open_module(), ret;

	if (peerbar < 0)
		return peerbar;
	*query = (struct peerbar_query){ .size = sizeof(*query),
					 .fd = fd,
					 .flags = probe ? PEERBAR_QUERY_PROBE : 0 };
	ret = pb_ioctl(peerbar, PEERBAR_QUERY, query);
	if (ret == -EINVAL && probe) {
		/* An older module always probes. */
		*query = (struct peerbar_query){ .size = sizeof(*query), .fd = fd };
		ret = pb_ioctl(peerbar, PEERBAR_QUERY, query);
	}
	if (kept >= 0)
		return ret;
	/* Keep /dev/peerbar open for each device, but not for each received descriptor. */
	if (!origin->bdf[0] || !atomic_compare_exchange_strong(&origin->peerbar, &none, peerbar))
		close(peerbar);
	return ret;
}

/* Copy up to the end of the first line, as /proc shows a name. */
static void copy_line(char *to, const char *from, size_t size)
{
	size_t n = strnlen(from, size - 1);
	const char *end = memchr(from, '\n', n);

	if (end)
		n = (size_t)(end - from);
	memcpy(to, from, n);
	to[n] = '\0';
}

/* Older modules don't report these. */
static void take_facts(const struct peerbar_query *query, struct pb_buffer_info *info)
{
	if (query->size < offsetof(struct peerbar_query, driver) + sizeof(query->driver))
		return;
	if (info->model != PB_UNKNOWN)
		info->basis = (enum pb_model_basis)query->model_basis;
	info->state = (enum pb_buffer_state)query->state;
	info->state_basis = (enum pb_model_basis)query->state_basis;
	info->can_pin = (enum pb_answer)query->can_pin;
	info->can_pin_basis = (enum pb_model_basis)query->can_pin_basis;
	info->can_revoke = (enum pb_answer)query->can_revoke;
	info->can_revoke_basis = (enum pb_model_basis)query->can_revoke_basis;
	info->place = (enum pb_place)query->place;
	info->place_basis = (enum pb_model_basis)query->place_basis;
	memcpy(info->place_bdf, query->place_device, sizeof(query->place_device));
	info->place_bar = query->bar;
	info->place_offset = query->bar_offset;
	info->migrates = query->flags & PEERBAR_QUERY_MIGRATES;
	memcpy(info->driver, query->driver, sizeof(query->driver));
}

/*
 * Query the module. Returns false if /proc must be queried too: the module is not loaded, is an
 * older one that does not report everything, or the query failed.
 */
static bool identify_by_module(struct pb_origin *origin, int fd, bool probe,
			       struct pb_buffer_info *info)
{
	struct peerbar_query query;

	if (query_module(origin, fd, probe, &query))
		return false;
	info->asked = true;
	info->importers = query.importers;
	info->mappable = query.flags & PEERBAR_QUERY_MMAP;
	if (query.model != PEERBAR_MODEL_UNKNOWN && query.model <= PEERBAR_MODEL_DYNAMIC) {
		info->model = (enum pb_model)query.model;
		info->basis = query.flags & PEERBAR_QUERY_DECLARED ? PB_BASIS_DECLARED :
								     PB_BASIS_DERIVED;
	}
	if (query.flags & PEERBAR_QUERY_OURS) {
		info->managed = true;
		info->state = (enum pb_buffer_state)query.state;
		info->memattr = (enum pb_memattr)query.memattr;
		info->nr_ranges = query.nr_ranges;
		info->list_id = query.id;
		memcpy(info->faults, query.faults, sizeof(info->faults));
		info->counted = query.size >=
			offsetof(struct peerbar_query, revocations) + sizeof(query.revocations);
		info->revocations = query.revocations;
	}
	take_facts(&query, info);
	if (query.size < offsetof(struct peerbar_query, name) + sizeof(query.name))
		return false;
	info->size = query.length;
	info->id = query.inode;
	copy_line(info->exporter, query.exporter, sizeof(query.exporter));
	copy_line(info->name, query.name, sizeof(query.name));
	return true;
}

static int identify_by_proc(int fd, int shown, struct pb_buffer_info *info, struct pb_error *err)
{
	struct pb_fdinfo fdinfo;
	char text[1024];
	char path[48];
	struct stat st;
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	ret = pb_read_file(path, text, sizeof(text));
	if (ret < 0)
		return pb_fail_errno(err, -ret,
				     "cannot read %s, which identifies a dma-buf and "
				     "needs /proc",
				     path);
	pb_parse_fdinfo(text, &fdinfo);
	if (!fdinfo.is_dmabuf)
		return pb_fail(err, EINVAL, "descriptor %d is no dma-buf", shown);
	if (fstat(fd, &st))
		return pb_fail_errno(err, errno, "cannot stat the dma-buf in descriptor %d", shown);
	info->size = fdinfo.size;
	info->id = st.st_ino;
	memcpy(info->exporter, fdinfo.exporter, sizeof(info->exporter));
	memcpy(info->name, fdinfo.name, sizeof(info->name));
	return 0;
}

/* Fill in what the module does not know, or is not there to tell. */
static void identify_by_name(struct pb_buffer_info *info)
{
	size_t i;

	for (i = 0; i < sizeof(exporters) / sizeof(exporters[0]); i++)
		if (!strcmp(info->exporter, exporters[i].exporter))
			break;
	if (i == sizeof(exporters) / sizeof(exporters[0]))
		return;
	if (info->model == PB_UNKNOWN) {
		info->model = exporters[i].model;
		info->basis = PB_BASIS_NAME;
	}
	if (info->can_pin == PB_ANSWER_UNKNOWN) {
		info->can_pin = PB_ANSWER_NO;
		info->can_pin_basis = PB_BASIS_NAME;
	}
	if (info->can_revoke == PB_ANSWER_UNKNOWN) {
		info->can_revoke = info->model == PB_REVOCABLE ? PB_ANSWER_YES : PB_ANSWER_NO;
		info->can_revoke_basis = PB_BASIS_NAME;
	}
	if (info->place == PB_PLACE_UNKNOWN) {
		info->place = exporters[i].place;
		info->place_basis = PB_BASIS_NAME;
	}
	if (info->state == PB_BUFFER_UNKNOWN && info->can_revoke == PB_ANSWER_NO) {
		info->state = PB_BUFFER_LIVE;
		info->state_basis = PB_BASIS_NAME;
	}
}

int pb_identify(struct pb_origin *origin, int fd, int shown, bool probe,
		struct pb_buffer_info *info, struct pb_error *err)
{
	int ret;

	*info = (struct pb_buffer_info){ .bar = -1 };
	ret = identify_by_module(origin, fd, probe, info) ? 0 :
							    identify_by_proc(fd, shown, info, err);
	if (!ret)
		identify_by_name(info);
	return ret;
}

enum pb_model pb_dmabuf_model(const struct pb_dmabuf *dmabuf)
{
	struct pb_buffer_info info;

	if (dmabuf->info.model != PB_UNKNOWN ||
	    pb_identify(dmabuf->origin, dmabuf->fd, dmabuf->fd, true, &info, NULL))
		return dmabuf->info.model;
	return info.model;
}
