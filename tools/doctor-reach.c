// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar doctor A B: whether one PCI function can reach the memory of another */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "doctor-reach.h"
#include "pci-path.h"

/* The functions and the bridges above them: "pci0000:00 > 0000:00:01.0 > 0000:01:00.0". */
static void add_path(struct findings *all, const char *name, const struct pbt_path *path)
{
	struct finding *f = add_finding(all, name, FINDING_OK);
	unsigned int i;
	size_t n;

	set_found(f, "%s", path->root);
	for (i = 0; i < path->nr; i++) {
		n = strlen(f->found);
		snprintf(f->found + n, sizeof(f->found) - n, " > %s", path->bdfs[i]);
	}
}

static void add_route(struct findings *all, const struct pbt_route *route)
{
	struct finding *f = add_finding(all, "route", FINDING_OK);

	switch (route->kind) {
	case PBT_ROUTE_SAME:
		set_found(f, "functions of one device; requests may stay inside of it");
		break;
	case PBT_ROUTE_SWITCH:
		set_found(f,
			  "through the bridge %s, %u bridges in all, by bus addresses; by IOVA "
			  "up to the root complex and its IOMMU, and down again",
			  route->bridge, route->distance);
		break;
	case PBT_ROUTE_REDIRECTED:
		set_found(f,
			  "below the bridge %s, %u bridges in all, but ACS of port %s redirects "
			  "requests to the root complex",
			  route->bridge, route->distance, route->redirects);
		break;
	case PBT_ROUTE_ROOT_COMPLEX:
		f->state = FINDING_NOTE;
		set_found(f,
			  "between ports of the root complex, %u bridges in all; whether it "
			  "passes requests on depends on the processor",
			  route->distance);
		set_todo(f, "see the result of 'map', and try a DMA");
		break;
	case PBT_ROUTE_HOST_BRIDGES:
		f->state = FINDING_NOTE;
		set_found(f,
			  "between different host bridges, %u bridges in all; whether they pass "
			  "requests on depends on the processor",
			  route->distance);
		set_todo(f,
			 "see the result of 'map', and try a DMA; or put both devices below one "
			 "host bridge");
		break;
	}
	if (!route->acs_unreadable)
		return;
	f = add_finding(all, "acs", FINDING_NOTE);
	set_found(f, "the ports' Access Control Services are not readable for this user");
	set_todo(f, "run 'peerbar doctor' as root");
}

static bool is_bound(struct findings *all, const char *name, const struct pb_pci_function *function)
{
	struct finding *f;

	f = add_finding(all, name, FINDING_OK);
	set_found(f, "%s is bound to %s, IOMMU group %d", function->bdf,
		  function->driver[0] ? function->driver : "no driver", function->iommu_group);
	if (function->iommu_group < 0) {
		f->state = FINDING_MISSING;
		set_found(f, "%s has no IOMMU group: no IOMMU is on for it", function->bdf);
		set_todo(f, "'peerbar doctor' lists what an IOMMU needs");
		return false;
	}
	if (function->cdev[0])
		return true;
	f->state = FINDING_NOTE;
	set_todo(f, "to try a mapping, bind it to a VFIO driver: peerbar bind %s", function->bdf);
	return false;
}

/* The first memory BAR of at least a page; -1 without one. */
static int find_bar(const struct pb_pci_function *f)
{
	int i, largest = -1;

	for (i = 0; i < PB_BARS; i++)
		if (f->bars[i].memory && f->bars[i].size >= 4096 &&
		    (largest < 0 || f->bars[i].size > f->bars[largest].size))
			largest = i;
	return largest;
}

/* Map a page of @bar of @to for @from, as 'peerbar map' does. */
static int map_page(struct opened *s, const char *from, const char *to, unsigned int bar,
		    uint64_t *iova, struct pb_error *err)
{
	struct pb_range range = { .offset = 0, .length = 4096 };
	struct pb_mapping *mapping = NULL;
	struct pb_buffer *buffer = NULL;
	struct pb_device *a, *b;
	struct pb_ioas *ioas = NULL;
	int ret;

	ret = pb_device_open(s->iommu, to, &b, err);
	if (ret)
		return ret;
	s->devices[s->nr_devices++] = b;
	ret = pb_device_open(s->iommu, from, &a, err);
	if (ret)
		return ret;
	s->devices[s->nr_devices++] = a;
	ret = pb_buffer_export(b, bar, &range, 1, 0, &buffer, err);
	if (!ret)
		ret = pb_ioas_create(s->iommu, &ioas, err);
	if (!ret)
		ret = pb_ioas_attach(ioas, a, err);
	if (!ret)
		ret = pb_map_buffer(ioas, buffer, 0, 0, PB_MAP_READ | PB_MAP_WRITE, 0, &mapping,
				    err);
	if (!ret)
		*iova = pb_mapping_iova(mapping);
	pb_unmap(mapping, NULL);
	pb_ioas_destroy(ioas);
	pb_buffer_close(buffer);
	return ret;
}

static void try_mapping(struct findings *all, const struct pb_pci_function *from,
			const struct pb_pci_function *to, int bar)
{
	struct opened s = { 0 };
	struct pb_error err;
	uint64_t iova = 0;
	struct finding *f;
	int ret;

	f = add_finding(all, "map", FINDING_OK);
	s.devices = allocate(2, sizeof(*s.devices));
	ret = pb_iommu_open(&s.iommu, &err);
	if (!ret)
		ret = map_page(&s, from->bdf, to->bdf, (unsigned int)bar, &iova, &err);
	close_devices(&s);
	if (!ret) {
		set_found(f, "iommufd maps BAR %d of %s for %s (tried at IOVA 0x%" PRIx64 ")", bar,
			  to->bdf, from->bdf, iova);
		return;
	}
	f->state = ret == -EBUSY || ret == -EACCES || ret == -EPERM ? FINDING_NOTE :
								      FINDING_MISSING;
	set_found(f, "not tried, or refused: %s", err.text);
}

int check_reach(struct findings *all, const char *from, const char *to)
{
	struct pbt_path from_path, to_path;
	struct pb_pci_function a, b;
	struct pbt_route route;
	struct pb_error err;
	struct finding *f;
	bool bound;
	int ret, bar;

	ret = pb_pci_get(from, &a, &err);
	if (!ret)
		ret = pb_pci_get(to, &b, &err);
	if (ret) {
		report(&err);
		return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	ret = pbt_get_path(PBT_PCI_DEVICES, a.bdf, &from_path);
	if (!ret)
		ret = pbt_get_path(PBT_PCI_DEVICES, b.bdf, &to_path);
	if (ret)
		return fail(-ret, "cannot find the bridges above %s and %s in sysfs", a.bdf, b.bdf);
	add_path(all, "from", &from_path);
	add_path(all, "to", &to_path);
	pbt_find_route(PBT_PCI_DEVICES, &from_path, &to_path, &route);
	add_route(all, &route);
	bound = is_bound(all, "from", &a);
	bound = is_bound(all, "to", &b) && bound;
	bar = find_bar(&b);
	if (bar < 0) {
		f = add_finding(all, "bar", FINDING_MISSING);
		set_found(f, "%s has no memory BAR of a page or more", b.bdf);
	} else if (bound && strcmp(a.bdf, b.bdf)) {
		try_mapping(all, &a, &b, bar);
	}
	return STATUS_OK;
}
