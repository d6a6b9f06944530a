// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar doctor A B: whether one PCI function can reach the memory of another, and its proof */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "dma-proof.h"
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

/* @proof: whether a proof by DMA follows. */
static void add_route(struct findings *all, const struct pbt_route *route, bool proof)
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
		if (!proof)
			set_todo(f, "prove it by a DMA: --dma, see 'peerbar doctor --help'");
		break;
	case PBT_ROUTE_HOST_BRIDGES:
		f->state = FINDING_NOTE;
		set_found(f,
			  "between different host bridges, %u bridges in all; whether they pass "
			  "requests on depends on the processor",
			  route->distance);
		if (!proof)
			set_todo(f,
				 "prove it by a DMA: --dma, see 'peerbar doctor --help'; or put "
				 "both devices below one host bridge");
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

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The first memory BAR of at least a page; -1 without one. */
static int find_bar(const struct pb_pci_function *f)
{
	int i, largest = -1;

	for (i = 0; i < PB_BARS; i++)
		if (f->bars[i].memory && f->bars[i].size >= page_size() &&
		    (largest < 0 || f->bars[i].size > f->bars[largest].size))
			largest = i;
	return largest;
}

/* A page of a BAR, mapped for another device. */
struct attempt {
	struct opened s;
	struct pb_device *from;
	struct pb_buffer *buffer;
	struct pb_ioas *ioas;
	struct pb_mapping *mapping;
	struct pbt_dma_page page;
};

/* Map the page, as 'peerbar map' does. Call end_attempt() in any case. */
static int map_page(struct attempt *t, const char *from, const char *to, unsigned int bar,
		    uint64_t offset, struct pb_error *err)
{
	struct pb_range range = { .offset = offset, .length = page_size() };
	struct opened *s = &t->s;
	int ret;

	memset(t, 0, sizeof(*t));
	s->devices = allocate(2, sizeof(*s->devices));
	ret = pb_iommu_open(&s->iommu, err);
	if (!ret)
		ret = pb_device_open(s->iommu, to, &t->page.device, err);
	if (ret)
		return ret;
	s->devices[s->nr_devices++] = t->page.device;
	ret = pb_device_open(s->iommu, from, &t->from, err);
	if (ret)
		return ret;
	s->devices[s->nr_devices++] = t->from;
	ret = pb_buffer_export(t->page.device, bar, &range, 1, 0, &t->buffer, err);
	if (!ret)
		ret = pb_ioas_create(s->iommu, &t->ioas, err);
	if (!ret)
		ret = pb_ioas_attach(t->ioas, t->from, err);
	if (!ret)
		ret = pb_map_buffer(t->ioas, t->buffer, 0, 0, PB_MAP_READ | PB_MAP_WRITE, 0,
				    &t->mapping, err);
	if (ret)
		return ret;
	t->page.bar = bar;
	t->page.offset = offset;
	t->page.iova = pb_mapping_iova(t->mapping);
	return 0;
}

static void end_attempt(struct attempt *t)
{
	pb_unmap(t->mapping, NULL);
	pb_ioas_destroy(t->ioas);
	pb_buffer_close(t->buffer);
	close_devices(&t->s);
}

/* ---- the proof by DMA ---- */

static void add_proof(struct findings *all, const char *name, const struct attempt *t,
		      const char *what, int ret, const struct pb_error *err)
{
	struct finding *f = add_finding(all, name, ret ? FINDING_MISSING : FINDING_OK);

	if (!ret) {
		set_found(f, "%s %s %d bytes of BAR %u of %s at 0x%" PRIx64 " by DMA",
			  pb_device_bdf(t->from), what, PBT_NVME_PAGE, t->page.bar,
			  pb_device_bdf(t->page.device), t->page.offset);
		return;
	}
	set_found(f, "%s", err->text);
	if (ret == -EIO || ret == -ETIMEDOUT)
		set_todo(f,
			 "look for a fault of the IOMMU in the kernel's log: dmesg | grep -e DMAR "
			 "-e AMD-Vi; without one, a bridge or the root complex drops the requests");
}

/* Add findings: whether DMA of t->from reaches the page. */
static void prove(struct findings *all, struct attempt *t)
{
	struct pbt_engine engine;
	struct pb_error err;
	sigset_t ends, before;
	struct finding *f;
	int ret;

	/* Every wait has a limit. Killed in between, the page would keep the bytes of the proof. */
	end_signals(&ends);
	sigprocmask(SIG_BLOCK, &ends, &before);
	ret = pbt_engine_start(&engine, t->from, t->ioas, &err);
	if (ret) {
		f = add_finding(all, "dma", FINDING_MISSING);
		set_found(f, "%s", err.text);
	} else {
		ret = pbt_prove_write(&engine, &t->page, &err);
		add_proof(all, "dma-write", t, "wrote", ret, &err);
		/* Other errors are those of the page. */
		if (!ret || ret == -EIO || ret == -ETIMEDOUT) {
			ret = pbt_prove_read(&engine, &t->page, &err);
			add_proof(all, "dma-read", t, "read", ret, &err);
		}
	}
	pbt_engine_stop(&engine);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* Whether the proof can be tried; adds a finding if not. */
static bool can_prove(struct findings *all, const struct pb_pci_function *from,
		      const struct pb_pci_function *to, const struct dma_option *dma, bool bound)
{
	const struct pb_pci_bar *bar = &to->bars[dma->bar];
	struct finding why = { .name = "dma", .state = FINDING_MISSING };

	if (!strcmp(from->bdf, to->bdf)) {
		set_found(&why, "not tried: both functions are %s", to->bdf);
	} else if (from->pci_class != PBT_NVME_CLASS) {
		set_found(&why,
			  "not tried: %s is no NVMe controller, and no other DMA engine is known",
			  from->bdf);
		set_todo(&why, "put an NVMe controller in its place, or use the device's driver");
	} else if (!bar->size || !bar->memory) {
		set_found(&why, "not tried: BAR %u of %s is no memory BAR", dma->bar, to->bdf);
	} else if (!bar->prefetchable && !dma->force) {
		set_found(&why,
			  "not tried: BAR %u of %s is not prefetchable, so it may have registers, "
			  "which a write can upset",
			  dma->bar, to->bdf);
		set_todo(&why, "if it has memory there, add --force");
	} else if (!bound) {
		set_found(&why, "not tried: not both are bound to VFIO drivers");
	} else {
		return true;
	}
	*add_finding(all, "dma", FINDING_MISSING) = why;
	return false;
}

/* Map a page and, with @dma, access it. */
static void try_mapping(struct findings *all, const struct pb_pci_function *from,
			const struct pb_pci_function *to, unsigned int bar,
			const struct dma_option *dma)
{
	struct attempt t;
	struct pb_error err;
	struct finding *f;
	int ret;

	f = add_finding(all, "map", FINDING_OK);
	ret = map_page(&t, from->bdf, to->bdf, bar, dma ? dma->offset : 0, &err);
	if (!ret) {
		set_found(f, "iommufd maps BAR %u of %s for %s (tried at IOVA 0x%" PRIx64 ")", bar,
			  to->bdf, from->bdf, t.page.iova);
		if (dma)
			prove(all, &t);
	} else {
		/* Without the mapping, there is no proof. */
		f->state = !dma && (ret == -EBUSY || ret == -EACCES || ret == -EPERM) ?
			FINDING_NOTE :
			FINDING_MISSING;
		set_found(f, "not tried, or refused: %s", err.text);
	}
	end_attempt(&t);
}

int check_reach(struct findings *all, const char *from, const char *to,
		const struct dma_option *dma)
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
	add_route(all, &route, dma);
	bound = is_bound(all, "from", &a);
	bound = is_bound(all, "to", &b) && bound;
	if (dma) {
		if (can_prove(all, &a, &b, dma, bound))
			try_mapping(all, &a, &b, dma->bar, dma);
		return STATUS_OK;
	}
	bar = find_bar(&b);
	if (bar < 0) {
		f = add_finding(all, "bar", FINDING_MISSING);
		set_found(f, "%s has no memory BAR of a page or more", b.bdf);
	} else if (bound && strcmp(a.bdf, b.bdf)) {
		try_mapping(all, &a, &b, (unsigned int)bar, NULL);
	}
	return STATUS_OK;
}
