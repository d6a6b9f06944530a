// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The lab from inside the guest, see lab.h. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab.h"

#define HOST_GPU "/lab/gpu.mem"
#define FAULTS	 "/lab/iommu-faults"
#define EXPECTED "/lab/expected-faults"
#define QMP	 "/dev/lab/qmp"

void lab_die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "lab: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(99);
}

/* ---- devices ---- */

const char *lab_bdf(enum lab_role role)
{
	static const struct {
		uint16_t vendor, device;
	} ids[LAB_ROLES] = {
		[LAB_GPU] = { 0x1af4, 0x1110 },	     [LAB_EDU] = { 0x1234, 0x11e8 },
		[LAB_NVME_CMB] = { 0x1b36, 0x0010 }, [LAB_NVME] = { 0x1b36, 0x0010 },
		[LAB_NIC] = { 0x8086, 0x10d3 },
	};
	static char found[LAB_ROLES][PB_BDF_LEN];
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct pb_pci_function *list;
	struct pb_error err;
	unsigned int i, n;

	pthread_mutex_lock(&lock);
	if (!found[role][0]) {
		if (pb_pci_list(&list, &n, &err))
			lab_die("%s", err.text);
		for (i = 0; i < n; i++) {
			if (list[i].vendor != ids[role].vendor ||
			    list[i].device != ids[role].device)
				continue;
			/* Only the NVMe with a controller memory buffer has a memory BAR 2. */
			if (role == LAB_NVME_CMB && !list[i].bars[CMB_BAR].size)
				continue;
			if (role == LAB_NVME && list[i].bars[CMB_BAR].size)
				continue;
			snprintf(found[role], sizeof(found[role]), "%s", list[i].bdf);
			break;
		}
		free(list);
	}
	pthread_mutex_unlock(&lock);
	return found[role][0] ? found[role] : NULL;
}

const char *lab_driver(void)
{
	const char *driver = getenv("LAB_DRIVER");

	return driver ? driver : "vfio-pci";
}

bool lab_driver_is_ours(void)
{
	return !strcmp(lab_driver(), "peerbar-vfio-pci");
}

struct pb_device *lab_open(struct pb_iommu *iommu, enum lab_role role)
{
	const char *bdf = lab_bdf(role);
	struct pb_device *device;
	struct pb_error err;

	if (!bdf)
		lab_die("this machine has no device for role %d", (int)role);
	if (pb_pci_bind(bdf, lab_driver(), &err) || pb_device_open(iommu, bdf, &device, &err))
		lab_die("%s", err.text);
	return device;
}

bool lab_has_no_reset(void)
{
	const char *topology = getenv("LAB_TOPOLOGY");

	return topology && !strcmp(topology, "flat");
}

void lab_reset_by_sysfs(enum lab_role role)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", lab_bdf(role));
	f = fopen(path, "we");
	if (!f || fputs("1", f) < 0 || fclose(f))
		lab_die("%s: %s", path, strerror(errno));
}

bool lab_kernel_is(const char *flavour)
{
	const char *kernel = getenv("LAB_KERNEL");

	return kernel && !strcmp(kernel, flavour);
}

/* ---- the host's view ---- */

/* Keep the files open: opening a file on the host takes five messages each way. */
static struct {
	int gpu;
	int faults;
} host = { -1, -1 };

static int keep_open(int *fd, const char *path)
{
	if (*fd < 0)
		*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		lab_die("cannot open %s: %s", path, strerror(errno));
	return *fd;
}

void lab_host_read(uint64_t offset, void *data, size_t length)
{
	int fd = keep_open(&host.gpu, HOST_GPU);
	char *p = data;

	while (length) {
		ssize_t n = pread(fd, p, length, (off_t)offset);

		if (n <= 0)
			lab_die("cannot read " HOST_GPU " at 0x%llx: %s",
				(unsigned long long)offset, n ? strerror(errno) : "it ends");
		p += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
}

bool lab_host_sees(uint64_t offset, const void *data, size_t length)
{
	void *seen = malloc(length);
	bool same;

	if (!seen)
		lab_die("no memory");
	lab_host_read(offset, seen, length);
	same = !memcmp(seen, data, length);
	free(seen);
	return same;
}

/* ---- faults ---- */

/* State of the scan: the file only grows, and each read is a request to the host. */
static struct {
	pthread_mutex_t lock;
	off_t at;
	unsigned int n;
	unsigned long long address; /* of the last failed translation by an SMMU */
	struct lab_fault last;
} faults = { .lock = PTHREAD_MUTEX_INITIALIZER };

/*
 * QEMU's lines, of VT-d and SMMUv3. The SMMU's event does not have the address: an error of the
 * guest, which precedes the event, has it. It has no event for a device without an address space.
 */
static void take_line(const char *line)
{
	struct lab_fault f = { .access = '?' };
	unsigned long long address;
	const char *at;
	unsigned int write;

	at = strstr(line, "translation failed for iova=");
	if (at) {
		sscanf(at, "translation failed for iova=0x%llx", &faults.address);
		return;
	}
	if ((at = strstr(line, "vtd_dmar_fault")) &&
	    sscanf(at, "vtd_dmar_fault sid 0x%x fault %*u addr 0x%llx write %u", &f.sid, &address,
		   &write) == 3)
		f.access = write ? 'w' : 'r';
	else if ((at = strstr(line, "smmuv3_propagate_event")) &&
		 sscanf(at, "smmuv3_propagate_event %*s sid=0x%x", &f.sid) == 1)
		address = faults.address;
	else if (!(at = strstr(line, "smmuv3_translate_abort")) ||
		 sscanf(at, "smmuv3_translate_abort %*s sid=0x%x abort on iova:0x%llx", &f.sid,
			&address) != 2)
		return;
	f.address = address;
	snprintf(f.line, sizeof(f.line), "%s", at);
	faults.last = f;
	faults.n++;
}

/* The caller must hold the lock. */
static void scan_faults(void)
{
	int fd = keep_open(&host.faults, FAULTS);
	char text[65536], *line, *end;
	struct stat st;
	ssize_t n = 0;

	/* fstat() is a request to the host, too; without it a read would not see new data. */
	while (!fstat(fd, &st) && st.st_size > faults.at &&
	       (n = pread(fd, text, sizeof(text) - 1, faults.at)) > 0) {
		text[n] = '\0';
		for (line = text; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			take_line(line);
		}
		faults.at += line - text;
		/* The last line is not complete yet. */
		if (line == text)
			break;
	}
	if (n < 0)
		lab_die("cannot read " FAULTS ": %s", strerror(errno));
}

unsigned int lab_faults(void)
{
	unsigned int n;

	pthread_mutex_lock(&faults.lock);
	scan_faults();
	n = faults.n;
	pthread_mutex_unlock(&faults.lock);
	return n;
}

void lab_last_fault(struct lab_fault *fault)
{
	pthread_mutex_lock(&faults.lock);
	scan_faults();
	*fault = faults.last;
	pthread_mutex_unlock(&faults.lock);
}

void lab_expect_faults(unsigned int n, const char *why)
{
	char line[160];
	int fd, len;

	len = snprintf(line, sizeof(line), "%u %s\n", n, why);
	fd = open(EXPECTED, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || write(fd, line, (size_t)len) != len)
		lab_die("cannot write " EXPECTED ": %s", strerror(errno));
	close(fd);
}

/* ---- QMP ---- */

char *lab_qmp(const char *command)
{
	static bool greeted;
	char line[65536];
	FILE *f;
	int fd;

	fd = open(QMP, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		lab_die("cannot open " QMP ": %s", strerror(errno));
	f = fdopen(fd, "r+");
	if (!f)
		lab_die("no memory");
	setvbuf(f, NULL, _IONBF, 0);
	if (!greeted) {
		dprintf(fd, "{\"execute\":\"qmp_capabilities\"}\n");
		greeted = true;
	}
	dprintf(fd, "{\"execute\":\"query-name\",\"id\":\"sync\"}\n%s\n", command);
	/* Skip greetings and events up to the answer of the synchronising query. */
	while (fgets(line, sizeof(line), f) && !strstr(line, "\"id\": \"sync\""))
		;
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "\"return\"") || strstr(line, "\"error\""))
			break;
	fclose(f);
	return strdup(line);
}

/* ---- memory ---- */

void lab_memory(struct pb_ioas *ioas, uint64_t iova, size_t size, struct lab_memory *memory)
{
	struct pb_error err;

	memory->size = size;
	memory->p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory->p == MAP_FAILED)
		lab_die("no memory");
	if (pb_map_memory(ioas, memory->p, size,
			  PB_MAP_READ | PB_MAP_WRITE | (iova ? PB_MAP_FIXED : 0), iova,
			  &memory->mapping, &err))
		lab_die("%s", err.text);
	memory->iova = pb_mapping_iova(memory->mapping);
}

void lab_memory_free(struct lab_memory *memory)
{
	struct pb_error err;

	if (!memory->p)
		return;
	if (pb_unmap(memory->mapping, &err))
		lab_die("%s", err.text);
	munmap(memory->p, memory->size);
	memset(memory, 0, sizeof(*memory));
}

#ifdef __aarch64__
void lab_copy(void *to, const void *from, size_t length)
{
	size_t i;

	if (((uintptr_t)to | (uintptr_t)from | length) % 8) {
		for (i = 0; i < length; i++)
			((volatile uint8_t *)to)[i] = ((const volatile uint8_t *)from)[i];
	} else {
		for (i = 0; i < length / 8; i++)
			((volatile uint64_t *)to)[i] = ((const volatile uint64_t *)from)[i];
	}
}

void lab_fill(void *to, uint8_t byte, size_t length)
{
	while (length--)
		((volatile uint8_t *)to)[length] = byte;
}

bool lab_equal(const void *device, const void *data, size_t length)
{
	void *seen = malloc(length);
	bool same;

	if (!seen)
		lab_die("no memory");
	lab_copy(seen, device, length);
	same = !memcmp(seen, data, length);
	free(seen);
	return same;
}
#else
void lab_copy(void *to, const void *from, size_t length)
{
	memcpy(to, from, length);
}

void lab_fill(void *to, uint8_t byte, size_t length)
{
	memset(to, byte, length);
}

bool lab_equal(const void *device, const void *data, size_t length)
{
	return !memcmp(device, data, length);
}
#endif

void lab_pattern(void *data, size_t length, uint32_t seed)
{
	uint32_t x = seed * 2654435761u + 1;
	uint8_t *p = data;
	size_t i;

	for (i = 0; i < length; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		p[i] = (uint8_t)(x >> 24);
	}
}

void lab_disk_bytes(unsigned int disk, uint64_t at, void *data, size_t length)
{
	uint64_t seed = disk ? 0x2222222200000000 : 0x1111111100000000;
	uint8_t *p = data;
	size_t i;

	for (i = 0; i < length; i++, at++)
		p[i] = (uint8_t)(((at & ~7ULL) ^ seed) >> (at & 7) * 8);
}
