// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Memory models without our modules: from the name of the exporter, and a table of what each is known to do. The reasons for every
 * row are in docs/models.md. What is not in the table is UNKNOWN: a guess would be worse than no answer, because an importer that
 * believes it keeps using memory that has moved away.
 */
#include <stdio.h>

#include "internal.h"

static const struct {
	const char *exporter;
	enum pb_model model;
} exporters[] = {
	/* memory of a PCI BAR: stays where it is, until reset, decoding off, or close take it away */
	{ "vfio_pci_core", PB_REVOCABLE },
	/* doorbell and memory pages of an RDMA NIC, until the driver takes them back */
	{ "ib_uverbs", PB_REVOCABLE },
	/* pages of a memfd, pinned for as long as the dma-buf lives */
	{ "udmabuf", PB_PINNED },
	/* heaps allocate for good */
	{ "system", PB_PINNED },
	{ "default_cma_region", PB_PINNED },
	/*
	 * No row can say DYNAMIC: the GPU drivers that move their buffers (amdgpu, xe, nouveau, radeon) are all called "drm" here,
	 * and so are those that never do. "drm" is UNKNOWN.
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

enum pb_model pb_exporter_model(const char *exporter)
{
	size_t i;

	for (i = 0; exporter && i < sizeof(exporters) / sizeof(exporters[0]); i++)
		if (!strcmp(exporter, exporters[i].exporter))
			return exporters[i].model;
	return PB_UNKNOWN;
}

int pb_model_accept(enum pb_model model, bool accept_unknown, const char *exporter, struct pb_error *err)
{
	switch (model) {
	case PB_PINNED:
	case PB_REVOCABLE:
		return 0;
	case PB_DYNAMIC:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map a buffer of the exporter '%s': its memory model is DYNAMIC, so it may move at any time, and "
			       "iommufd cannot follow; PINNED and REVOCABLE buffers can be mapped", exporter);
	default:
		if (accept_unknown)
			return 0;
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map a buffer of the exporter '%s': its memory model is UNKNOWN, so nobody says that it stays where "
			       "it is; PB_MAP_UNKNOWN_MODEL takes it all the same", exporter);
	}
}

/*
 * The kernel writes "size:", "count:" and "exp_name:" before "name:", and the name is the only one that a user can set (to anything,
 * newlines included). So the first line of each kind counts, and the name is the last one looked for.
 */
static bool first_line(const char *text, const char *key, char *value, size_t size)
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
	if (!first_line(text, "exp_name", info->exporter, sizeof(info->exporter)) || !first_line(text, "size", value, sizeof(value)))
		return;
	errno = 0;
	info->size = strtoull(value, &end, 10);
	if (errno || *end || end == value)
		return;
	first_line(text, "name", info->name, sizeof(info->name));
	info->is_dmabuf = true;
}
