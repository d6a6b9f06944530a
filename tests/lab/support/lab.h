/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The lab from inside the guest: its devices, the host's view of them, and the faults that its
 * IOMMU reported.
 *
 * Two userspace drivers generate real DMA: edu (QEMU's teaching device, a DMA engine with a 4 KiB
 * buffer) and nvme. Both copy between IOVAs of the address space that their device is attached to.
 */
#ifndef LAB_H
#define LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "nvme-controller.h"
#include "peerbar.h"

#define KIB	  1024ULL
#define MIB	  (1024 * KIB)
#define PAGE	  ((unsigned long long)getpagesize())
#define PAGE_MOST (64 * KIB) /* of all architectures */
#define GPU_BAR	  2
/* A mebibyte of IOVAs that the IOMMU's driver reserves for message-signalled interrupts. */
#ifdef __aarch64__
#define MSI_IOVA 0x8000000ULL
#else
#define MSI_IOVA 0xfee00000ULL
#endif
#define CMB_BAR 2

/*
 * Exit with status 99 and a message: a fixture lacks something, and no test can run without the
 * lab.
 */
void lab_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- devices by role ---- */

enum lab_role { LAB_GPU, LAB_EDU, LAB_NVME_CMB, LAB_NVME, LAB_NIC, LAB_ROLES };

/* Return the device's address, or NULL if the machine has no such device. */
const char *lab_bdf(enum lab_role role);
/* Return the VFIO driver under test: LAB_DRIVER, or vfio-pci by default. */
const char *lab_driver(void);
bool lab_driver_is_ours(void);
/* Bind the device to lab_driver() and open it. */
struct pb_device *lab_open(struct pb_iommu *iommu, enum lab_role role);

/* In the topology "flat" no port above the GPU can reset it, and it cannot reset itself. */
bool lab_has_no_reset(void);
/* Write "1" to the function's reset attribute in sysfs. Exit on failure. */
void lab_reset_by_sysfs(enum lab_role role);
/* Return whether the kernel's flavour is @flavour: "stock", "debug" or "nop2p". */
bool lab_kernel_is(const char *flavour);

/*
 * ---- the host's view of the GPU's BAR 2: the backing file, not the machine ----
 *
 * 9p reads about 3 MiB a second, less on the debug kernel.
 */

void lab_host_read(uint64_t offset, void *data, size_t length);
/* Return whether the host reads exactly these bytes at @offset. */
bool lab_host_sees(uint64_t offset, const void *data, size_t length);

/* ---- IOMMU faults, as QEMU logs them when they happen ---- */

/* Return the number of faults since the machine was started. */
unsigned int lab_faults(void);
/* Declare @n faults as expected because of @why. A fault that is not declared fails the run. */
void lab_expect_faults(unsigned int n, const char *why);
struct lab_fault {
	unsigned int sid; /* bus << 8 | device << 3 | function */
	uint64_t address;
	char access;	/* 'r' or 'w'; '?' if the emulation does not report it */
	char line[200]; /* "" if there was none */
};

void lab_last_fault(struct lab_fault *fault);

/* ---- QEMU's monitor: send one QMP command (JSON, one line); the caller frees the answer ---- */

char *lab_qmp(const char *command);

/* ---- memory for DMA ---- */

struct lab_memory {
	void *p;
	size_t size;
	uint64_t iova;
	struct pb_mapping *mapping;
};

/*
 * Map zeroed pages readable and writable at @iova, or at any IOVA if @iova is 0. lab_memory_free()
 * zeroes *memory.
 */
void lab_memory(struct pb_ioas *ioas, uint64_t iova, size_t size, struct lab_memory *memory);
void lab_memory_free(struct lab_memory *memory);

/*
 * Copy to or from a mapping of a BAR. On arm64, with naturally aligned accesses only: an unaligned
 * one to device memory raises SIGBUS, and memcpy() does such accesses.
 */
void lab_copy(void *to, const void *from, size_t length);
/* As memset() and memcmp() == 0, of a mapping of a BAR. */
void lab_fill(void *to, uint8_t byte, size_t length);
bool lab_equal(const void *device, const void *data, size_t length);

/* Fill @data with bytes that depend on @seed and the offset. */
void lab_pattern(void *data, size_t length, uint32_t seed);

/* ---- edu ---- */

#define EDU_MAX \
	4000 /* bytes per DMA; ending exactly at the end of edu's buffer kills older
		      * QEMUs */

struct edu {
	struct pb_device *device;
	volatile uint8_t *mmio;
};

void edu_start(struct edu *edu, struct pb_device *device);
void edu_stop(struct edu *edu);
/*
 * Copy between IOVAs through edu's buffer: one DMA read and one DMA write, 0.1 s each. Cannot fail:
 * an access that the IOMMU blocks faults, and its data does not arrive.
 */
void edu_copy(struct edu *edu, uint64_t from, uint64_t to, size_t length);
/* One half of edu_copy(). */
void edu_load(struct edu *edu, uint64_t from, size_t length);
void edu_store(struct edu *edu, uint64_t to, size_t length);

/* ---- NVMe ---- */

#define NVME_MAX (1 * MIB) /* bytes per command */

struct nvme {
	struct pbt_nvme controller;
	struct lab_memory memory;
	uint32_t block;
};

/*
 * Reset the controller and create an I/O queue; -errno with a message in @err. The device must be
 * attached to @ioas.
 */
int nvme_start(struct nvme *nvme, struct pb_device *device, struct pb_ioas *ioas,
	       struct pb_error *err);
void nvme_stop(struct nvme *nvme);
/*
 * Copy between the disk at byte @at and @iova. Return 0, the NVMe status (positive) if the
 * controller failed the command, e.g. because it cannot reach the data, or an errno of
 * pbt_nvme_submit(). @at and
 * @length are multiples of the block size; @iova is page-aligned.
 */
int nvme_read(struct nvme *nvme, uint64_t at, uint64_t iova, size_t length);
int nvme_write(struct nvme *nvme, uint64_t at, uint64_t iova, size_t length);
/*
 * Access eight bytes at @iova with one fast DMA, through the controller's timestamp. The timestamp
 * has 48 bits and increases by one each millisecond, so only bits 20 to 47 of @value are valid
 * (NVME_PEEK_MASK). *value is 0 if nothing can be read. Return as nvme_read().
 */
int nvme_peek(struct nvme *nvme, uint64_t iova, uint64_t *value);
int nvme_poke(struct nvme *nvme, uint64_t iova, uint64_t value);
#define NVME_PEEK_MASK 0xfffffff00000ULL
/* Compute the lab's bytes at @at of disk 0 or 1, within the first 2 MiB. */
void lab_disk_bytes(unsigned int disk, uint64_t at, void *data, size_t length);

#endif
