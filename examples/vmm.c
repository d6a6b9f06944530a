// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A minimal VMM that keeps P2P DMA working.
 *
 * Two devices are assigned to an imaginary guest: a GPU with memory in BAR 2, and edu, which
 * copies. The guest's writes to their configuration spaces are replayed from a recording: sizing,
 * placing, moving, decoding off and on, sleep and reset. Each access is trapped as in a VMM, and
 * reported with the corresponding call of the library. After each step edu copies a pattern into
 * the GPU's memory, with guest-physical addresses only. The IOMMU stops DMA to addresses where the
 * GPU is not.
 *
 * It runs in the lab, whose driver for edu it uses: ./lab run -- /build/examples/vmm
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "lab.h"

#define RAM_SIZE (4 * MIB) /* the guest's memory, at guest-physical address 0 */
#define SOURCE	 (1 * MIB) /* the pattern's offset in it */
#define LENGTH	 1024

/* ---- a device in the guest's view ---- */

#define COMMAND 0x04
#define BAR0	0x10
#define MEMORY	0x2 /* bits of the command register */
#define MASTER	0x4

struct assigned {
	struct pb_device *device;
	struct pb_guest_device *guest_device;
	uint64_t size[PB_BARS];
	bool wide[PB_BARS]; /* a 64-bit BAR; the next register has its upper half */
	uint32_t command;
	uint32_t bar[PB_BARS]; /* the BAR registers */
	bool asleep;
};

static struct pb_error err;
static struct pb_guest *guest;

static void must(int ret)
{
	if (ret < 0)
		lab_die("%s", err.text);
}

static void assign(struct assigned *a, struct pb_device *device)
{
	unsigned int i;
	uint32_t bar;

	a->device = device;
	for (i = 0; i < PB_BARS; i++) {
		struct pb_region region;

		must(pb_device_region(device, i, &region, &err));
		a->size[i] = region.size;
		must(pb_device_read(device, PB_REGION_CONFIG, BAR0 + 4 * i, &bar, 4, &err));
		a->wide[i] = region.size && (bar & 0x6) == 0x4;
	}
	must(pb_guest_add_device(guest, device, NULL, 0, a, &a->guest_device, &err));
}

/* ---- the traps ---- */

/*
 * The guest wrote a BAR register. Only the address bits keep the value; the guest finds the size by
 * that.
 */
static void write_bar(struct assigned *a, unsigned int n, uint32_t value)
{
	unsigned int low = n && a->wide[n - 1] ? n - 1 : n;
	uint64_t mask, address;

	if (!a->size[low])
		return;
	mask = ~(a->size[low] - 1);
	a->bar[n] = value & (uint32_t)(n == low ? mask : mask >> 32);
	address = a->bar[low];
	if (a->wide[low])
		address |= (uint64_t)a->bar[low + 1] << 32;
	must(pb_guest_set_bar(a->guest_device, low, address, &err));
}

/*
 * The guest wrote the command register. Report decoding off before applying it, decoding on after.
 */
static void write_command(struct assigned *a, uint32_t value)
{
	bool on = value & MEMORY;

	if (!on)
		must(pb_guest_set_decoding(a->guest_device, false, &err));
	must(pb_device_set_decoding(a->device, on, &err));
	must(pb_device_set_bus_master(a->device, value & MASTER, &err));
	if (on)
		must(pb_guest_set_decoding(a->guest_device, true, &err));
	a->command = value;
}

static void set_power(struct assigned *a, bool on)
{
	/* This GPU has no D3. A device with D3 needs the write to its register here. */
	must(pb_guest_set_power(a->guest_device, on, &err));
	a->asleep = !on;
}

static void reset(struct assigned *a)
{
	unsigned int i;

	must(pb_guest_reset_begin(a->guest_device, &err));
	must(pb_device_reset(a->device, &err));
	must(pb_device_set_decoding(a->device, false, &err));
	must(pb_guest_reset_done(a->guest_device, &err));
	/* The guest's view after the reset. */
	a->command = 0;
	for (i = 0; i < PB_BARS; i++) {
		a->bar[i] = 0;
		if (a->size[i])
			must(pb_guest_set_bar(a->guest_device, i, PB_GUEST_NOWHERE, &err));
	}
}

/* ---- the recording ---- */

enum op { WRITE, SLEEP, WAKE, RESET, SAY };

struct access {
	enum op op;
	unsigned int offset; /* in the GPU's configuration space */
	uint32_t value;
	const char *say; /* with SAY: describes the state; P2P is tried then */
	uint64_t at;	 /* the GPU's address then; PB_GUEST_NOWHERE if it has none */
};

#define BAR2	 (BAR0 + 8)
#define ON(a)	 { SAY, 0, 0, a, 0x1080000000 }
#define MOVED(a) { SAY, 0, 0, a, 0x1200000000 }
#define OFF(a)	 { SAY, 0, 0, a, PB_GUEST_NOWHERE }

/*
 * The firmware places the BARs. Then the kernel finds decoding on, sizes them with decoding off,
 * and moves them.
 */
static const struct access recording[] = {
	OFF("powered on"),
	{ WRITE, BAR2, 0xffffffff, NULL, 0 },
	{ WRITE, BAR2 + 4, 0xffffffff, NULL, 0 },
	OFF("sized by the firmware"),
	{ WRITE, BAR2, 0x80000000, NULL, 0 },
	{ WRITE, BAR2 + 4, 0x10, NULL, 0 },
	{ WRITE, COMMAND, MEMORY | MASTER, NULL, 0 },
	ON("placed by the firmware"),
	{ WRITE, COMMAND, 0, NULL, 0 },
	OFF("decoding off"),
	{ WRITE, BAR2, 0xffffffff, NULL, 0 },
	{ WRITE, BAR2, 0x80000000, NULL, 0 },
	{ WRITE, BAR2 + 4, 0xffffffff, NULL, 0 },
	{ WRITE, BAR2 + 4, 0x10, NULL, 0 },
	{ WRITE, COMMAND, MEMORY | MASTER, NULL, 0 },
	ON("sized by the kernel, decoding on"),
	{ WRITE, BAR2, 0xffffffff, NULL, 0 },
	{ WRITE, BAR2 + 4, 0xffffffff, NULL, 0 },
	OFF("being sized again, while it decodes"),
	{ WRITE, BAR2, 0x80000000, NULL, 0 },
	{ WRITE, BAR2 + 4, 0x10, NULL, 0 },
	ON("the old address back"),
	{ WRITE, BAR2, 0, NULL, 0 },
	{ WRITE, BAR2 + 4, 0x12, NULL, 0 },
	MOVED("moved while it decodes"),
	{ SLEEP, 0, 0, NULL, 0 },
	OFF("in D3"),
	{ WAKE, 0, 0, NULL, 0 },
	MOVED("back in D0"),
	{ RESET, 0, 0, NULL, 0 },
	OFF("reset"),
	{ WRITE, BAR2, 0x80000000, NULL, 0 },
	{ WRITE, BAR2 + 4, 0x10, NULL, 0 },
	OFF("placed again, not decoding yet"),
	{ WRITE, COMMAND, MEMORY | MASTER, NULL, 0 },
	ON("restored"),
};

/* ---- P2P ---- */

static int failed;

/* Copy to both addresses that the GPU has had: the data must arrive only at the current one. */
static void try_p2p(struct edu *edu, uint8_t *ram, const struct access *now)
{
	static const uint64_t places[] = { 0x1080000000, 0x1200000000 };
	static uint32_t seed;
	unsigned int i, faults;
	bool arrived, right = true;

	for (i = 0; i < 2; i++) {
		uint64_t offset = 5 * MIB;

		lab_pattern(ram + SOURCE, LENGTH, ++seed);
		faults = lab_faults();
		edu_copy(edu, SOURCE, places[i] + offset, LENGTH);
		faults = lab_faults() - faults;
		if (faults)
			lab_expect_faults(faults, "vmm: DMA to where the GPU is not");
		arrived = lab_host_sees(offset, ram + SOURCE, LENGTH);
		right = right && arrived == (now->at == places[i]) && !faults == arrived;
	}
	if (now->at == PB_GUEST_NOWHERE)
		printf("%s  %-40s DMA to it is stopped\n", right ? "ok    " : "FAILED", now->say);
	else
		printf("%s  %-40s DMA reaches it at 0x%" PRIx64 "\n", right ? "ok    " : "FAILED",
		       now->say, now->at);
	failed += !right;
}

/* Print the reports, as a VMM's event loop would when pb_guest_fd() polls readable. */
static void hear(void)
{
	struct pb_guest_range report;

	must(pb_guest_sync(guest, 0, &err));
	while (pb_guest_next_report(guest, &report))
		printf("        %s BAR %u at 0x%" PRIx64 ": %s: %s\n", report.bdf, report.bar,
		       report.address, pb_guest_state_name(report.state), report.why.text);
}

int main(void)
{
	struct assigned gpu = { 0 }, copier = { 0 };
	struct lab_memory ram;
	struct pb_iommu *iommu;
	struct pb_ioas *ioas;
	struct edu edu;
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/*
	 * The guest's address space, with all its devices and its memory, as in every VMM with
	 * iommufd.
	 */
	must(pb_iommu_open(&iommu, &err));
	must(pb_ioas_create(iommu, &ioas, &err));
	must(pb_guest_create(&guest, &err));
	must(pb_guest_add_ioas(guest, ioas, 0, &err));
	assign(&gpu, lab_open(iommu, LAB_GPU));
	assign(&copier, lab_open(iommu, LAB_EDU));
	must(pb_ioas_attach(ioas, gpu.device, &err));
	must(pb_ioas_attach(ioas, copier.device, &err));
	ram.p = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ram.p == MAP_FAILED)
		lab_die("no memory for the guest");
	must(pb_map_memory(ioas, ram.p, RAM_SIZE, PB_MAP_READ | PB_MAP_WRITE | PB_MAP_FIXED, 0,
			   &ram.mapping, &err));
	edu_start(&edu, copier.device);

	for (i = 0; i < sizeof(recording) / sizeof(recording[0]); i++) {
		const struct access *a = &recording[i];

		if (a->op == WRITE && a->offset == COMMAND)
			write_command(&gpu, a->value);
		else if (a->op == WRITE)
			write_bar(&gpu, (a->offset - BAR0) / 4, a->value);
		else if (a->op == SLEEP || a->op == WAKE)
			set_power(&gpu, a->op == WAKE);
		else if (a->op == RESET)
			reset(&gpu);
		else
			try_p2p(&edu, ram.p, a);
		hear();
	}

	/* Unplug: first from the guest, then from the host. */
	must(pb_guest_remove_device(gpu.guest_device, &err));
	pb_device_close(gpu.device);
	printf("%d steps went wrong\n", failed);
	edu_stop(&edu);
	pb_guest_destroy(guest);
	pb_ioas_destroy(ioas);
	pb_device_close(copier.device);
	pb_iommu_close(iommu);
	munmap(ram.p, RAM_SIZE);
	return failed ? 1 : 0;
}
