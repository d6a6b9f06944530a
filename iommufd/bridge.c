// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Bridges: dma-bufs that iommufd maps with the help of the kernel module peerbar-iommufd.
 *
 * iommufd takes dma-bufs of one range, of vfio-pci and peerbar. For all others the module imports
 * the dma-buf for the functions that will access it, and returns a dma-buf of each of its ranges.
 */
#include <inttypes.h>
#include <stdio.h>

#include "importer.h"

#define FIRST_ROOM 256

bool pb_needs_bridge(const struct pb_dmabuf *dmabuf)
{
	const struct pb_buffer_info *info = &dmabuf->info;

	/* Exported here: there is a piece for each range. */
	if (dmabuf->nr_ranges)
		return false;
	if (info->managed)
		return info->model == PB_DYNAMIC || info->nr_ranges > 1;
	return strcmp(info->exporter, "vfio_pci_core") &&
		strcmp(info->exporter, "peerbar_vfio_pci");
}

/* ---- errors ---- */

/* Errnos that the kernel does not return to user space, but exporters to importers. */
static const char *name_internal_errno(unsigned int code)
{
	switch (code) {
	case 517:
		return "EPROBE_DEFER";
	case 524:
		return "ENOTSUPP";
	case 527:
		return "EIOCBQUEUED";
	default:
		return "an errno of the kernel's own";
	}
}

static void describe_errno(unsigned int code, char *text, size_t size)
{
	char buf[80];

	if (code >= 512)
		snprintf(text, size, "errno %u, %s", code, name_internal_errno(code));
	else
		snprintf(text, size, "errno %u, %s", code, strerror_r((int)code, buf, sizeof(buf)));
}

static int fail_exporter(const struct peerbar_bridge *r, int ret, const char *what,
			 const char *refuses, struct pb_error *err)
{
	char why[128];

	describe_errno(r->exporter_errno, why, sizeof(why));
	if (ret == -ENODEV)
		return pb_fail(err, ENODEV,
			       "cannot map %s: its exporter refuses to %s it for %s (%s): the buffer is revoked, or "
			       "its device is gone",
			       what, refuses, r->function, why);
	return pb_fail(err, -ret, "cannot map %s: its exporter refuses to %s it for %s (%s)", what,
		       refuses, r->function, why);
}

int pb_fail_bridge(const struct peerbar_bridge *r, int ret, const char *what, struct pb_error *err)
{
	switch (r->reason) {
	case PEERBAR_BRIDGE_WHY_NO_FUNCTION:
		return pb_fail(err, ENODEV,
			       "cannot map %s: no device is bound to the iommufd, and the exporter must know for which device "
			       "it is; open one first",
			       what);
	case PEERBAR_BRIDGE_WHY_NOT_BOUND:
		return pb_fail(err, ENODEV, "cannot map %s: %s is not bound to the iommufd", what,
			       r->function);
	case PEERBAR_BRIDGE_WHY_NO_IOMMU:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: no IOMMU translates the DMA of %s; enable the IOMMU",
			       what, r->function);
	case PEERBAR_BRIDGE_WHY_READ_ONLY:
		return pb_fail(err, EACCES,
			       "cannot map %s: its descriptor is read-only, which iommufd does not respect; export it for "
			       "reading and writing (DRM_RDWR)",
			       what);
	case PEERBAR_BRIDGE_WHY_ATTACH:
		return fail_exporter(r, ret, what, "attach", err);
	case PEERBAR_BRIDGE_WHY_PIN:
		return fail_exporter(r, ret, what, "pin", err);
	case PEERBAR_BRIDGE_WHY_MAP:
		return fail_exporter(r, ret, what, "map", err);
	case PEERBAR_BRIDGE_WHY_EXPORTER_P2P:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: its exporter finds no path for peer-to-peer DMA from %s to the memory",
			       what, r->function);
	case PEERBAR_BRIDGE_WHY_P2P:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: peer-to-peer DMA does not reach %s, whose memory it is, from %s: they share no "
			       "port, and the host bridge is not known to forward it",
			       what, r->device, r->function);
	case PEERBAR_BRIDGE_WHY_SYSTEM_MEMORY:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: at 0x%" PRIx64
			       " it is in system memory, and iommufd maps dma-bufs of device memory only; map system memory "
			       "by its address",
			       what, (uint64_t)r->offset);
	case PEERBAR_BRIDGE_WHY_NOT_BAR:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: at 0x%" PRIx64
			       " its exporter returns an address that is in no BAR of a PCI function",
			       what, (uint64_t)r->offset);
	case PEERBAR_BRIDGE_WHY_OTHER_DEVICE:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: at 0x%" PRIx64
			       " its exporter returns an address that is in no BAR of %s, as those before it",
			       what, (uint64_t)r->offset, r->device);
	case PEERBAR_BRIDGE_WHY_UNALIGNED:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: the range at 0x%" PRIx64
			       " does not consist of whole pages, which the IOMMU maps",
			       what, (uint64_t)r->offset);
	case PEERBAR_BRIDGE_WHY_TOO_SHORT:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s: its exporter maps only 0x%" PRIx64 " bytes of it",
			       what, (uint64_t)r->offset);
	case PEERBAR_BRIDGE_WHY_MEMLOCK:
		return pb_fail(err, ENOMEM,
			       "cannot map %s: it has to be pinned, and RLIMIT_MEMLOCK does not allow to pin so much",
			       what);
	case PEERBAR_BRIDGE_WHY_MOVING:
		return pb_fail(err, EAGAIN, "cannot map %s: its exporter moves it all the time",
			       what);
	}
	if (ret == -EDQUOT)
		return pb_fail(err, EDQUOT,
			       "cannot map %s: this user has reached the limit of buffers or of their ranges, and each range "
			       "of it is one; close some, or raise max_buffers or max_ranges of the module peerbar",
			       what);
	if (ret == -EMFILE)
		return pb_fail(err, EMFILE,
			       "cannot map %s: it has %u ranges, and RLIMIT_NOFILE does not allow a descriptor for each",
			       what, r->nr_ranges);
	return pb_fail_errno(err, -ret, "cannot map %s (PEERBAR_BRIDGE)", what);
}

/* ---- the request ---- */

/* Name the devices that are attached to the address space. The module takes all if there is none. */
static unsigned int name_functions(struct pb_ioas *ioas, struct peerbar_bridge_function *functions)
{
	struct pb_device *device;
	unsigned int n = 0;

	pthread_mutex_lock(&ioas->iommu->lock);
	LIST_FOREACH(device, &ioas->devices, in_ioas)
		if (n < PEERBAR_BRIDGE_FUNCTIONS)
			snprintf(functions[n++].name, sizeof(functions[0].name), "%s", device->bdf);
	pthread_mutex_unlock(&ioas->iommu->lock);
	return n;
}

/* Returns the ranges, to be freed with free(), or NULL and -errno in *@ret. */
static struct peerbar_bridge_range *request_bridge(struct pb_ioas *ioas, int module, int fd,
						   struct peerbar_bridge *r, int *ret)
{
	struct peerbar_bridge_function functions[PEERBAR_BRIDGE_FUNCTIONS];
	struct peerbar_bridge_range *ranges;
	unsigned int nr_functions, room = FIRST_ROOM;

	memset(functions, 0, sizeof(functions));
	nr_functions = name_functions(ioas, functions);
	for (;;) {
		ranges = calloc(room, sizeof(*ranges));
		if (!ranges) {
			*ret = -ENOMEM;
			return NULL;
		}
		*r = (struct peerbar_bridge){ .size = sizeof(*r),
					      .fd = fd,
					      .iommufd = ioas->iommu->fd,
					      .functions = (uintptr_t)functions,
					      .nr_functions = nr_functions,
					      .nr_ranges = room,
					      .ranges = (uintptr_t)ranges };
		*ret = pb_ioctl(module, PEERBAR_BRIDGE, r);
		if (!*ret)
			return ranges;
		free(ranges);
		if (*ret != -EMSGSIZE || r->nr_ranges <= room || r->nr_ranges > PB_MAX_RANGES)
			return NULL;
		room = r->nr_ranges;
	}
}

/* Takes over the descriptors. */
static struct pb_dmabuf *new_dmabuf(const struct pb_dmabuf *of,
				    const struct peerbar_bridge_range *ranges, unsigned int n)
{
	struct pb_dmabuf *new = calloc(1, sizeof(*new));
	struct pb_piece *pieces = calloc(n, sizeof(*pieces));
	unsigned int i;

	if (!new || !pieces) {
		for (i = 0; i < n; i++)
			close(ranges[i].fd);
		free(new);
		free(pieces);
		return NULL;
	}
	for (i = 0; i < n; i++)
		pieces[i] = (struct pb_piece){ .fd = ranges[i].fd, .size = ranges[i].length };
	atomic_init(&new->refs, 1);
	new->fd = -1;
	new->info = of->info;
	new->info.managed = true;
	new->info.nr_ranges = n;
	snprintf(new->info.exporter, sizeof(new->info.exporter), "peerbar_iommufd");
	new->origin = pb_origin_get(of->origin);
	new->pieces = pieces;
	new->nr_pieces = n;
	return new;
}

int pb_bridge(struct pb_ioas *ioas, struct pb_dmabuf *dmabuf, struct pb_dmabuf **bridged,
	      struct pb_error *err)
{
	struct peerbar_bridge_range *ranges;
	struct peerbar_bridge r = { 0 };
	char what[PB_NAME_LEN + 40];
	int module, ret;

	snprintf(what, sizeof(what), "a buffer of the exporter '%s'", dmabuf->info.exporter);
	module = pb_open_module();
	if (module < 0)
		return pb_fail_errno(err, -module, "cannot map %s: cannot open /dev/peerbar", what);
	ranges = request_bridge(ioas, module, dmabuf->fd, &r, &ret);
	close(module);
	if (!ranges)
		return pb_fail_bridge(&r, ret, what, err);
	*bridged = new_dmabuf(dmabuf, ranges, r.nr_ranges);
	free(ranges);
	if (!*bridged)
		return pb_fail_errno(err, ENOMEM, "cannot map %s", what);
	return 0;
}

void pb_bridge_close_pieces(struct pb_dmabuf *bridged, uint64_t offset)
{
	unsigned int i;
	uint64_t at = 0;

	for (i = 0; i < bridged->nr_pieces; at += bridged->pieces[i++].size) {
		if (offset >= at && offset - at < bridged->pieces[i].size)
			continue;
		close(bridged->pieces[i].fd);
		bridged->pieces[i].fd = -1;
	}
}

bool pb_can_bridge(void)
{
	struct peerbar_info modules;

	return !pb_query_module(&modules) && modules.caps & PEERBAR_CAP_BRIDGE;
}
