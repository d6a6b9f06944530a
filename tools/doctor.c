// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar doctor: what of this machine is ready, and what to do about the rest */
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "doctor-reach.h"
#include "lines.h"
#include "parse.h"

#define GROUP "peerbar"

/* "updates/dkms/iommufd.ko.xz: kernel/..." */
static bool is_module_line(const char *line, const char *name)
{
	size_t n = strcspn(line, ":\n"), length = strlen(name);
	const char *base = line, *p;

	for (p = line; p < line + n; p++)
		if (*p == '/')
			base = p + 1;
	return !strncmp(base, name, length) && !strncmp(base + length, ".ko", 3);
}

static bool is_module_installed(const char *release, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", release);
	if (has_line(path, is_module_line, name))
		return true;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.builtin", release);
	return has_line(path, is_module_line, name);
}

static void check_kernel(struct findings *all, const char *release)
{
	unsigned int major = 0, minor = 0;
	struct finding *f;

	sscanf(release, "%u.%u", &major, &minor);
	f = add_finding(all, "kernel", FINDING_OK);
	set_found(f, "Linux %s", release);
	if (major > 7 || (major == 7 && minor >= 2))
		return;
	f->state = FINDING_MISSING;
	set_todo(f,
		 "install Linux 7.2 or newer (Debian 13: apt-get install -t trixie-backports "
		 "linux-image-amd64)");
}

static void check_iommu(struct findings *all)
{
	DIR *dir = opendir("/sys/class/iommu");
	struct dirent *ent;
	struct finding *f;

	f = add_finding(all, "iommu", FINDING_MISSING);
	while (dir && (ent = readdir(dir))) {
		size_t n = strlen(f->found);

		if (ent->d_name[0] == '.')
			continue;
		f->state = FINDING_OK;
		snprintf(f->found + n, sizeof(f->found) - n, "%s%.30s", n ? ", " : "", ent->d_name);
	}
	if (dir)
		closedir(dir);
	if (f->state == FINDING_OK)
		return;
	set_found(f, "no IOMMU is on");
	set_todo(f,
		 "turn VT-d or AMD-Vi on in the firmware's setup; on Intel, add intel_iommu=on "
		 "to the kernel's command line");
}

/* ---- capabilities of the library, and the way to those that are missing ---- */

static const struct way {
	enum pb_capability_index index;
	enum finding_state missing;
	const char *module;  /* that has it */
	const char *package; /* that has the module */
	const char *otherwise;
} ways[] = {
	{ PB_CAP_IOMMUFD, FINDING_MISSING, "iommufd", "peerbar-vfio-dkms", NULL },
	{ PB_CAP_VFIO_CDEV, FINDING_MISSING, "vfio-pci", NULL,
	  "use a kernel with CONFIG_VFIO_DEVICE_CDEV, or install peerbar-vfio-dkms and reboot" },
	{ PB_CAP_DMABUF, FINDING_MISSING, "vfio-pci", NULL,
	  "use a kernel with CONFIG_VFIO_PCI_DMABUF and CONFIG_PCI_P2PDMA" },
	{ PB_CAP_P2PDMA, FINDING_NOTE, NULL, NULL,
	  "use a kernel with CONFIG_PCI_P2PDMA; without it, buffers can be mapped by processes only" },
	{ PB_CAP_PEERBAR, FINDING_NOTE, "peerbar", "peerbar-dkms", NULL },
	{ PB_CAP_VFIO_PCI, FINDING_NOTE, "peerbar-vfio-pci", "peerbar-dkms", NULL },
	{ PB_CAP_IOMMUFD_SHIM, FINDING_NOTE, "peerbar-iommufd", "peerbar-dkms", NULL },
};

static void check_way(struct findings *all, const struct way *way, const struct pb_capability *c,
		      const char *release)
{
	struct finding *f;

	f = add_finding(all, c->name, c->there ? FINDING_OK : way->missing);
	if (c->there) {
		set_found(f, "%s", c->purpose);
		return;
	}
	set_found(f, "missing: %s", c->missing);
	/* check_nodes() reports the permission, and what to do. */
	if (!strncmp(c->missing, "the permission", strlen("the permission"))) {
		f->state = FINDING_NOTE;
		return;
	}
	if (way->module && !strstr(c->missing, "CONFIG_VFIO") &&
	    is_module_installed(release, way->module))
		set_todo(f, "load it: modprobe %s", way->module);
	else if (way->package)
		set_todo(f, "install the package %s, and the headers of Linux %s", way->package,
			 release);
	else if (way->otherwise)
		set_todo(f, "%s", way->otherwise);
}

static int check_capabilities(struct findings *all, const char *release)
{
	struct pb_capability *list;
	struct pb_error err;
	unsigned int i, n;

	if (pb_capabilities(&list, &n, &err))
		return report(&err);
	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (ways[i].index < n)
			check_way(all, &ways[i], &list[ways[i].index], release);
	free(list);
	return STATUS_OK;
}

/* ---- nodes and permissions ---- */

static void check_node(struct findings *all, const char *name, const char *path,
		       enum finding_state missing, const char *group)
{
	struct finding *f;
	struct group *g;
	struct stat st;

	if (stat(path, &st))
		return; /* the capability is missing, too */
	g = getgrgid(st.st_gid);
	f = add_finding(all, name, FINDING_OK);
	set_found(f, "%s, mode %04o, group %.40s", path, st.st_mode & 07777,
		  g ? g->gr_name : "unknown");
	if (!access(path, R_OK | W_OK))
		return;
	f->state = missing;
	if (!getgrnam(group))
		set_todo(f,
			 "run as root, or install the package peerbar, which lets the group "
			 "%s use it",
			 group);
	else if (g && !strcmp(g->gr_name, group))
		set_todo(f, "add the user to the group: adduser USER %s; then log in again", group);
	else
		set_todo(f, "apply the udev rules of the package peerbar: udevadm trigger");
}

/* All nodes of a directory whose names begin with @prefix. */
static void check_nodes(struct findings *all, const char *directory, const char *prefix,
			enum finding_state missing, const char *group)
{
	DIR *dir = opendir(directory);
	struct dirent *ent;
	char path[300];

	while (dir && (ent = readdir(dir))) {
		if (strncmp(ent->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, ent->d_name);
		check_node(all, "node", path, missing, group);
	}
	if (dir)
		closedir(dir);
}

static void check_memlock(struct findings *all)
{
	const rlim_t enough = (rlim_t)1 << 30;
	struct rlimit limit;
	struct finding *f;
	char text[32];

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	f = add_finding(all, "memlock", FINDING_OK);
	if (limit.rlim_cur == RLIM_INFINITY)
		set_found(f, "a process may pin any amount of its memory");
	else
		set_found(f, "a process may pin %s of its memory",
			  human_size(limit.rlim_cur, text));
	if (limit.rlim_cur >= enough)
		return;
	f->state = FINDING_NOTE;
	set_todo(f,
		 "to register or map more memory (not BARs), raise memlock in "
		 "/etc/security/limits.d, and log in again");
}

static bool says_none(const char *line, const char *text)
{
	return strstr(line, text) != NULL;
}

static void check_lockdown(struct findings *all)
{
	const char *path = "/sys/kernel/security/lockdown";
	struct finding *f;

	if (access(path, R_OK) || has_line(path, says_none, "[none]"))
		return;
	f = add_finding(all, "lockdown", FINDING_NOTE);
	set_found(f,
		  "the kernel is locked down, as with Secure Boot, and loads only signed modules");
	set_todo(f,
		 "enrol the key that DKMS signs with: mokutil --import /var/lib/dkms/mok.pub, and reboot");
}

/* Bound devices that share their IOMMU group with functions of other drivers cannot be opened. */
static int check_devices(struct findings *all)
{
	struct pb_pci_function *list;
	unsigned int i, k, n, bound = 0;
	struct finding *f;
	struct pb_error err;

	if (pb_pci_list(&list, &n, &err))
		return report(&err);
	for (i = 0; i < n; i++) {
		if (!strstr(list[i].driver, "vfio"))
			continue;
		bound++;
		for (k = 0; k < n; k++) {
			/* Bridges stay with their driver. */
			if (k == i || list[k].iommu_group != list[i].iommu_group ||
			    !list[k].driver[0] || strstr(list[k].driver, "vfio") ||
			    list[k].pci_class >> 16 == 0x06)
				continue;
			f = add_finding(all, "group", FINDING_NOTE);
			set_found(f, "%s shares IOMMU group %d with %s, which is bound to %s",
				  list[i].bdf, list[i].iommu_group, list[k].bdf, list[k].driver);
			set_todo(f, "bind it, too: peerbar bind %s", list[k].bdf);
		}
	}
	free(list);
	f = add_finding(all, "devices", bound ? FINDING_OK : FINDING_NOTE);
	set_found(f, "%u functions are bound to VFIO drivers", bound);
	if (!bound)
		set_todo(f, "bind one: peerbar bind BDF; 'peerbar devices' lists them");
	return STATUS_OK;
}

static int check_machine(struct findings *all)
{
	struct utsname system;
	int status;

	uname(&system);
	check_kernel(all, system.release);
	check_iommu(all);
	status = check_capabilities(all, system.release);
	if (status)
		return status;
	check_lockdown(all);
	check_node(all, "node", "/dev/iommu", FINDING_MISSING, GROUP);
	check_node(all, "node", "/dev/peerbar", FINDING_NOTE, GROUP);
	check_nodes(all, "/dev/vfio/devices", "vfio", FINDING_MISSING, GROUP);
	check_nodes(all, "/dev/infiniband", "uverbs", FINDING_NOTE, "rdma");
	check_memlock(all);
	return check_devices(all);
}

static int parse_dma(const struct args *args, struct dma_option *dma)
{
	char why[200];

	if (pbt_parse_page(args->dma, &dma->bar, &dma->offset, why, sizeof(why)))
		return misuse("cannot take --dma: %s", why);
	dma->force = args->force;
	return STATUS_OK;
}

int cmd_doctor(const struct args *args)
{
	struct findings all = { 0 };
	struct dma_option dma;
	int status;

	if (args->nr_operands == 1 || args->nr_operands > 2)
		return misuse("'doctor' takes no operand, or two PCI functions: the one that "
			      "accesses memory, and the one that has it");
	if (args->dma && !args->nr_operands)
		return misuse("--dma needs two PCI functions: the one that accesses memory, and "
			      "the one that has it");
	if (args->force && !args->dma)
		return misuse("'doctor' takes --force only with --dma");
	status = args->dma ? parse_dma(args, &dma) : STATUS_OK;
	if (!status && args->nr_operands)
		status = check_reach(&all, args->operands[0], args->operands[1],
				     args->dma ? &dma : NULL);
	else if (!status)
		status = check_machine(&all);
	if (!status)
		status = print_findings(&all);
	free(all.list);
	return status;
}
