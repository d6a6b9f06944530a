/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The way between two PCI functions, from sysfs. */
#ifndef PBT_PCI_PATH_H
#define PBT_PCI_PATH_H

#include <stdbool.h>

#include "peerbar.h"

#define PBT_PCI_DEVICES "/sys/bus/pci/devices"
#define PBT_PATH_MAX	16

/*
 * A function and the bridges above it, that at the root first. @devices below is PBT_PCI_DEVICES,
 * or a test's directory.
 */
struct pbt_path {
	char root[32]; /* the root bus, "pci0000:00" */
	char bdfs[PBT_PATH_MAX][PB_BDF_LEN];
	unsigned int nr;
};

/* Access Control Services of a port: whether it redirects requests between peers to the root. */
enum pbt_acs {
	PBT_ACS_ABSENT,
	PBT_ACS_DIRECT,
	PBT_ACS_REDIRECT,
	PBT_ACS_UNREADABLE, /* only root can read these registers */
};

enum pbt_route_kind {
	PBT_ROUTE_SAME,		/* functions of one device */
	PBT_ROUTE_SWITCH,	/* below a common bridge */
	PBT_ROUTE_REDIRECTED,	/* the same, but ACS redirects requests to the root complex */
	PBT_ROUTE_ROOT_COMPLEX, /* below different ports of one root bus */
	PBT_ROUTE_HOST_BRIDGES, /* below different root buses */
};

struct pbt_route {
	enum pbt_route_kind kind;
	unsigned int distance;	    /* the number of bridges on the way, the common one once */
	char bridge[PB_BDF_LEN];    /* the common bridge; "" if there is none */
	char redirects[PB_BDF_LEN]; /* the first port with PBT_ACS_REDIRECT; "" if none */
	bool acs_unreadable;
};

/* Returns 0, -ENODEV if there is no such function, or -E2BIG for too many bridges. */
int pbt_get_path(const char *devices, const char *bdf, struct pbt_path *path);
enum pbt_acs pbt_get_acs(const char *devices, const char *bdf);
void pbt_find_route(const char *devices, const struct pbt_path *from, const struct pbt_path *to,
		    struct pbt_route *route);

#endif
