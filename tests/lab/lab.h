/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The lab from inside the guest: its devices, what the host sees of them, and the faults that its IOMMU reported.
 *
 * Two drivers in user space make real DMA happen: edu (QEMU's teaching device, a DMA engine with a buffer of 4 KiB), and nvme. Both
 * move bytes between IOVAs of the address space that their device is attached to.
 */
#ifndef LAB_H
#define LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peerbar.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define PAGE 4096ULL
#define GPU_BAR 2
#define CMB_BAR 2

/* what a fixture needs; lab_die() ends the process with a sentence, because without a lab nothing can be tested */
void lab_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- devices by what they are ---- */

enum lab_role { LAB_GPU, LAB_EDU, LAB_NVME_CMB, LAB_NVME, LAB_NIC, LAB_ROLES };

/* the address of a device; NULL if the machine has none of this kind */
const char *lab_bdf(enum lab_role role);
/* the VFIO driver that the tests are about: vfio-pci, or what LAB_DRIVER says */
const char *lab_driver(void);
bool lab_driver_is_ours(void);
/* bind it to that driver and open it */
struct pb_device *lab_open(struct pb_iommu *iommu, enum lab_role role);

/* in the topology "flat" the GPU has no port above it that could reset it, and it cannot reset itself */
bool lab_has_no_reset(void);
/* "1" to the function's reset in sysfs; it ends the test if that fails */
void lab_reset_by_sysfs(enum lab_role role);
/* whether it has this flavour of kernel: "stock", "debug", "nop2p" */
bool lab_kernel_is(const char *flavour);

/* ---- what the host sees of the GPU's BAR 2, by the backing file and not by the machine ---- */

void lab_host_read(uint64_t offset, void *data, size_t length);
/* whether the host sees exactly these bytes there */
bool lab_host_sees(uint64_t offset, const void *data, size_t length);

/* ---- IOMMU faults, as QEMU writes them down when they happen ---- */

/* how many there have been since the machine was started */
unsigned int lab_faults(void);
/* announce that @n faults are expected to have happened because of @why; what is not announced fails the run */
void lab_expect_faults(unsigned int n, const char *why);
/* the last fault's line; "" if there is none */
void lab_last_fault(char *line, size_t size);

/* ---- QEMU's monitor: send one QMP command (JSON, one line), return its answer; to be freed ---- */

char *lab_qmp(const char *command);

/* ---- memory for DMA ---- */

struct lab_memory {
	void *p;
	size_t size;
	uint64_t iova;
	struct pb_mapping *mapping;
};

/* zeroed pages, mapped for reading and writing at @iova, or anywhere if that is 0; *memory is all zero after lab_memory_free() */
void lab_memory(struct pb_ioas *ioas, uint64_t iova, size_t size, struct lab_memory *memory);
void lab_memory_free(struct lab_memory *memory);

/* bytes that differ for each seed and at each offset */
void lab_pattern(void *data, size_t length, uint32_t seed);

/* ---- edu ---- */

#define EDU_MAX 4000 /* bytes at a time; a transfer that ends exactly at the end of edu's buffer kills older QEMUs */

struct edu {
	struct pb_device *device;
	volatile uint8_t *mmio;
};

void edu_start(struct edu *edu, struct pb_device *device);
void edu_stop(struct edu *edu);
/*
 * Copy between IOVAs, through edu's own buffer: one DMA read and one DMA write, 0.1 s each. It cannot fail; what the IOMMU does not
 * allow faults, and does not arrive.
 */
void edu_copy(struct edu *edu, uint64_t from, uint64_t to, size_t length);
/* one half of it */
void edu_load(struct edu *edu, uint64_t from, size_t length);
void edu_store(struct edu *edu, uint64_t to, size_t length);

/* ---- NVMe ---- */

#define NVME_MAX (1 * MIB) /* bytes at a time */

struct nvme {
	struct pb_device *device;
	volatile uint8_t *mmio;
	struct lab_memory queues;
	unsigned int sq_tail[2];
	unsigned int cq_head[2];
	unsigned int phase[2];
	uint32_t db_stride;
	uint16_t next_id;
	uint32_t block;
};

/* reset the controller, make an I/O queue; -errno with a sentence in @err. The device must be attached to @ioas. */
int nvme_start(struct nvme *nvme, struct pb_device *device, struct pb_ioas *ioas, struct pb_error *err);
void nvme_stop(struct nvme *nvme);
/*
 * Read from, or write to, the disk at byte @at, to or from @iova: 0; the NVMe status (positive) if the controller refused, as for data
 * that it could not reach; -ETIMEDOUT. All in multiples of the block size; @iova is page-aligned.
 */
int nvme_read(struct nvme *nvme, uint64_t at, uint64_t iova, size_t length);
int nvme_write(struct nvme *nvme, uint64_t at, uint64_t iova, size_t length);
/*
 * Eight bytes by one DMA read of @iova, or one DMA write, quickly: by way of the controller's timestamp, which has 48 bits and grows by
 * one each millisecond. So of @value only the bits from 20 to 47 are told, and matter; where nothing can be read, 0. 0; the NVMe
 * status; -ETIMEDOUT.
 */
int nvme_peek(struct nvme *nvme, uint64_t iova, uint64_t *value);
int nvme_poke(struct nvme *nvme, uint64_t iova, uint64_t value);
#define NVME_PEEK_MASK 0xfffffff00000ULL
/* what the lab put at byte @at of disk 0 or 1, in the first 2 MiB */
void lab_disk_bytes(unsigned int disk, uint64_t at, void *data, size_t length);

#endif
