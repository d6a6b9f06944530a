// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Versions; and the capabilities of this system, with the missing ones' requirements, by name. */
#include <dirent.h>
#include <fcntl.h>
#ifdef HAVE_LIBNL
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/socket.h>
#endif
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

#define NR_KNOWN (PB_CAP_FTRACE + 1)

static const struct {
	const char *name;
	const char *purpose;
} known[NR_KNOWN] = {
	[PB_CAP_IOMMU] = { "iommu", "devices reach what was mapped for them, and nothing else" },
	[PB_CAP_IOMMUFD] = { "iommufd", "open devices, and map for them" },
	[PB_CAP_VFIO_CDEV] = { "vfio-cdev", "open devices" },
	[PB_CAP_DMABUF] = { "dmabuf", "export BARs with vfio-pci" },
	[PB_CAP_P2PDMA] = { "p2pdma", "attach other importers than iommufd to BARs" },
	[PB_CAP_PEERBAR] = { "peerbar", "ask for the model and the state of any dma-buf" },
	[PB_CAP_NETLINK] = { "netlink", "list buffers, and receive their events" },
	[PB_CAP_VFIO_PCI] = { "peerbar-vfio-pci",
			      "mmap, memory attributes, permanent revocation, cookies" },
	[PB_CAP_IOMMUFD_SHIM] = { "peerbar-iommufd",
				  "map buffers of peerbar-vfio-pci with iommufd" },
	[PB_CAP_FTRACE] = { "ftrace", "load peerbar-iommufd" },
};

static void set_there(struct pb_capability *c)
{
	c->there = true;
	c->missing[0] = '\0';
}

static void __attribute__((format(printf, 2, 3))) set_missing(struct pb_capability *c,
							      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->missing, sizeof(c->missing), fmt, ap);
	va_end(ap);
	c->there = false;
}

/* ---- the symbols of the kernel and its modules ---- */

/* On arm64, the handler has the arguments without all registers. */
#ifdef __aarch64__
#define FTRACE_CALLER "ftrace_caller"
#define FTRACE_OPTION "CONFIG_DYNAMIC_FTRACE_WITH_ARGS"
#else
#define FTRACE_CALLER "ftrace_regs_caller"
#define FTRACE_OPTION "CONFIG_DYNAMIC_FTRACE_WITH_REGS"
#endif

enum symbol { SYM_DMABUF, SYM_VFIO, SYM_P2PDMA, SYM_FTRACE, NR_SYMBOLS };

static const char *const symbols[NR_SYMBOLS] = {
	[SYM_DMABUF] = "vfio_pci_core_feature_dma_buf",
	[SYM_VFIO] = "vfio_pci_core_ioctl_feature",
	[SYM_P2PDMA] = "pci_p2pdma_distance_many",
	[SYM_FTRACE] = FTRACE_CALLER,
};

/* Returns false if the symbols cannot be read. */
static bool find_symbols(bool found[NR_SYMBOLS])
{
	char line[1024];
	unsigned int i;
	FILE *f;

	memset(found, 0, NR_SYMBOLS * sizeof(*found));
	f = fopen("/proc/kallsyms", "re");
	if (!f)
		return false;
	/* ADDRESS TYPE NAME [MODULE] */
	while (fgets(line, sizeof(line), f)) {
		const char *name = strchr(line, ' ');
		size_t n;

		name = name ? strchr(name + 1, ' ') : NULL;
		if (!name)
			continue;
		n = strcspn(++name, " \t\n");
		for (i = 0; i < NR_SYMBOLS; i++)
			if (!strncmp(name, symbols[i], n) && !symbols[i][n])
				found[i] = true;
	}
	fclose(f);
	return true;
}

/* ---- each capability ---- */

static void check_iommu(struct pb_capability *c)
{
	DIR *dir = opendir("/sys/class/iommu");
	struct dirent *ent;

	set_missing(c,
		    "an IOMMU that is on: the kernel parameter intel_iommu=on, CONFIG_INTEL_IOMMU or CONFIG_AMD_IOMMU, or the firmware's "
		    "setting");
	while (dir && (ent = readdir(dir)))
		if (ent->d_name[0] != '.')
			set_there(c);
	if (dir)
		closedir(dir);
}

static void check_iommufd(struct pb_capability *c)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		set_there(c);
	} else if (errno == EACCES || errno == EPERM) {
		set_missing(c, "the permission to open /dev/iommu");
	} else {
		set_missing(c,
			    "the kernel module iommufd (CONFIG_IOMMUFD), which makes /dev/iommu");
	}
}

static void check_vfio_cdev(struct pb_capability *c)
{
	char line[128];
	FILE *f;

	if (access("/sys/class/vfio-dev", F_OK))
		set_missing(c, "the kernel module vfio, which vfio-pci loads");
	else
		set_missing(c, "CONFIG_VFIO_DEVICE_CDEV in the kernel");
	f = fopen("/proc/devices", "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (strstr(line, " vfio-dev\n"))
			set_there(c);
	fclose(f);
}

static void check_symbols(struct pb_capability *list, const struct peerbar_info *info)
{
	bool found[NR_SYMBOLS];
	char enabled[8];

	if (!find_symbols(found)) {
		set_missing(&list[PB_CAP_DMABUF], "the permission to detect it in /proc/kallsyms");
		set_missing(&list[PB_CAP_P2PDMA], "the permission to detect it in /proc/kallsyms");
		set_missing(&list[PB_CAP_FTRACE], "the permission to detect it in /proc/kallsyms");
		memset(found, 0, sizeof(found));
	} else {
		if (found[SYM_VFIO])
			set_missing(&list[PB_CAP_DMABUF],
				    "CONFIG_VFIO_PCI_DMABUF in the kernel (Linux 7.2 or newer)");
		else
			set_missing(&list[PB_CAP_DMABUF],
				    "the kernel module vfio-pci-core, which vfio-pci loads");
		set_missing(&list[PB_CAP_P2PDMA], "CONFIG_PCI_P2PDMA in the kernel");
		set_missing(&list[PB_CAP_FTRACE], FTRACE_OPTION " in the kernel");
	}
	if (found[SYM_DMABUF])
		set_there(&list[PB_CAP_DMABUF]);
	if (found[SYM_P2PDMA] || (info && info->caps & PEERBAR_CAP_P2PDMA))
		set_there(&list[PB_CAP_P2PDMA]);
	if (!found[SYM_FTRACE])
		return;
	if (pb_read_file("/proc/sys/kernel/ftrace_enabled", enabled, sizeof(enabled)) > 0 &&
	    enabled[0] == '0')
		set_missing(&list[PB_CAP_FTRACE], "the sysctl kernel.ftrace_enabled, which is 0");
	else
		set_there(&list[PB_CAP_FTRACE]);
}

/* Returns whether the module answers; fills in @info if it does. */
static bool check_peerbar(struct pb_capability *c, struct peerbar_info *info)
{
	int ret = pb_query_module(info);

	if (!ret && info->abi == 1)
		set_there(c);
	else if (!ret)
		set_missing(c,
			    "a version of the kernel module peerbar with ABI 1; the one that is loaded has ABI %u",
			    info->abi);
	else if (ret == -EACCES || ret == -EPERM)
		set_missing(c, "the permission to open /dev/peerbar");
	else
		set_missing(c, "the kernel module peerbar");
	return !ret;
}

#ifdef HAVE_LIBNL
static int check_netlink(struct pb_capability *c)
{
	struct nl_sock *sk;
	int ret;

	sk = nl_socket_alloc();
	if (!sk)
		return -ENOMEM;
	ret = genl_connect(sk);
	if (!ret)
		ret = genl_ctrl_resolve(sk, PEERBAR_GENL_NAME);
	nl_socket_free(sk);
	if (ret >= 0)
		set_there(c);
	else
		set_missing(c,
			    "the kernel module peerbar, whose netlink family is '" PEERBAR_GENL_NAME
			    "'");
	return 0;
}
#else
static int check_netlink(struct pb_capability *c)
{
	set_missing(c, "a libpeerbar that was built with libnl");
	return 0;
}
#endif

static void check_modules(struct pb_capability *list, const struct peerbar_info *info)
{
	if (!access("/sys/bus/pci/drivers/" PB_DRIVER, F_OK))
		set_there(&list[PB_CAP_VFIO_PCI]);
	else
		set_missing(&list[PB_CAP_VFIO_PCI], "the kernel module " PB_DRIVER);
	if (info && info->caps & PEERBAR_CAP_IOMMUFD)
		set_there(&list[PB_CAP_IOMMUFD_SHIM]);
	else
		set_missing(&list[PB_CAP_IOMMUFD_SHIM], "the kernel module peerbar-iommufd");
}

const char *pb_version(void)
{
	return PACKAGE_VERSION;
}

unsigned int pb_module_abi(void)
{
	struct peerbar_info info;

	return pb_query_module(&info) ? 0 : info.abi;
}

int pb_capabilities_sized(struct pb_capability **capabilities, size_t size,
			  unsigned int *nr_capabilities, struct pb_error *err)
{
	struct pb_capability list[NR_KNOWN] = { 0 };
	struct peerbar_info answer, *info = NULL;
	unsigned int i;

	for (i = 0; i < NR_KNOWN; i++) {
		list[i].name = known[i].name;
		list[i].purpose = known[i].purpose;
	}
	check_iommu(&list[PB_CAP_IOMMU]);
	check_iommufd(&list[PB_CAP_IOMMUFD]);
	check_vfio_cdev(&list[PB_CAP_VFIO_CDEV]);
	if (check_peerbar(&list[PB_CAP_PEERBAR], &answer))
		info = &answer;
	check_symbols(list, info);
	check_modules(list, info);
	if (check_netlink(&list[PB_CAP_NETLINK]))
		return pb_fail_errno(err, ENOMEM,
				     "cannot ask for the netlink family '" PEERBAR_GENL_NAME "'");
	*capabilities = pb_array_sized(list, sizeof(list[0]), NR_KNOWN, size);
	if (!*capabilities)
		return pb_fail_errno(err, ENOMEM, "cannot list what this system can do");
	*nr_capabilities = NR_KNOWN;
	return 0;
}
