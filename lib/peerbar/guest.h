/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The BARs of a virtual machine's assigned devices, in its address spaces. For authors of VMMs:
 * other programs need nothing of it.
 */
#ifndef PEERBAR_GUEST_H
#define PEERBAR_GUEST_H

#include <peerbar/api.h>
#include <peerbar/device.h>
#include <peerbar/error.h>
#include <peerbar/ioas.h>
#include <peerbar/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: guests - DMA between the assigned devices of a virtual machine
 *
 * A &struct pb_guest maintains a VMM's address spaces: each page of a BAR of an assigned device is
 * mapped at the guest-physical address that the guest programmed, for as long as the guest wants it
 * there. The VMM traps the guest's accesses and reports them by these functions. The rules:
 *
 * - A page is mapped if and only if exactly one BAR claims it, that BAR's device decodes (decoding
 *   on, D0, not in a reset), the page is not trapped, and the kernel maps it. A page that cannot be
 *   mapped, because the IOMMU reserves its address or the VMM has mapped something there, does not
 *   prevent the other pages of the BAR. A page that two BARs claim is mapped for neither, until one
 *   of them moves.
 * - Wrong mappings are unmapped before new ones are made, in all address spaces. So DMA never
 *   reaches a page that the guest did not put there; at worst it faults.
 * - A refusal by the kernel does not make a call fail: the pages stay unmapped, with the reason,
 *   which is reported once and can be listed. Each later call tries again.
 * - The VMM maps the guest's RAM. A BAR is not mapped over it, or over any other mapping of the
 *   VMM's.
 *
 * Report a change that disables a BAR (decoding off, D3, a reset, a new address) before applying it
 * to the device, and a change that enables it (decoding on, D0, the end of a reset) after. In the
 * wrong order, DMA still reaches no wrong page, but there are reports of pages that could not be
 * mapped.
 *
 * All functions may be called from any thread. Each holds one lock of the guest, taken before all
 * other locks of the library, for its whole duration and across its ioctls. There are no callbacks.
 * A function that maps takes some hundred microseconds per BAR.
 */
struct pb_guest;
struct pb_guest_device;

/**
 * pb_guest_create() - create a guest
 * @guest: receives the guest
 * @err: may be NULL
 *
 * Return: 0; -EMFILE if descriptors run out: it takes four, and one more for each BAR that is
 * exported.
 */
PB_API int pb_guest_create(struct pb_guest **guest, struct pb_error *err);

/**
 * pb_guest_destroy() - unmap all BARs and free the guest
 * @guest: the guest; may be NULL
 *
 * Address spaces and devices stay as they are; they may then be destroyed and closed. Every
 * &struct pb_guest_device of the guest becomes invalid. No other thread may use the guest.
 */
PB_API void pb_guest_destroy(struct pb_guest *guest);

/**
 * enum pb_guest_ioas_flags - the kind of addresses of an address space
 * @PB_GUEST_WINDOWS: addresses of a virtual IOMMU, not guest-physical ones: only the windows of
 *	pb_guest_add_window() are mapped
 */
enum pb_guest_ioas_flags { PB_GUEST_WINDOWS = 1 << 0 };

/**
 * pb_guest_add_ioas() - map BARs in an address space
 * @guest: the guest
 * @ioas: the address space; must not be destroyed before pb_guest_remove_ioas() or
 *	pb_guest_destroy()
 * @flags: of &enum pb_guest_ioas_flags; 0 if its addresses are guest-physical
 * @err: may be NULL
 *
 * A guest without a virtual IOMMU has one. A guest with a virtual IOMMU has one for each of its
 * domains or, if the IOMMU nests, a single one with guest-physical addresses below the guest's page
 * tables.
 *
 * Return: 0; -EINVAL if @flags are unknown; -EEXIST if it was added already.
 */
PB_API int pb_guest_add_ioas(struct pb_guest *guest, struct pb_ioas *ioas, unsigned int flags,
			     struct pb_error *err);

/**
 * pb_guest_remove_ioas() - unmap all BARs from an address space, and remove it
 * @guest: the guest
 * @ioas: the address space
 * @err: may be NULL
 *
 * Return: 0; -ENOENT if it was not added; -EBUSY if the kernel did not unmap everything: call
 * again.
 */
PB_API int pb_guest_remove_ioas(struct pb_guest *guest, struct pb_ioas *ioas, struct pb_error *err);

/**
 * struct pb_guest_window - a mapping in a domain of a virtual IOMMU
 * @iova: the first address; page-aligned
 * @address: the guest-physical address it maps to; page-aligned
 * @length: the length; a multiple of the page size, not 0
 * @flags: PB_MAP_READ, PB_MAP_WRITE or both
 */
struct pb_guest_window {
	uint64_t iova;
	uint64_t address;
	uint64_t length;
	unsigned int flags;
};

/**
 * pb_guest_add_window() - report that the guest mapped a range in a domain of its virtual IOMMU
 * @guest: the guest
 * @ioas: the domain's address space, added with PB_GUEST_WINDOWS
 * @window: the range
 * @err: may be NULL
 *
 * Only windows onto BARs are needed. BARs may appear and disappear behind a window. The VMM maps
 * the parts of it that are the guest's RAM.
 *
 * Return: 0; -EINVAL if @ioas was not added with PB_GUEST_WINDOWS, or @window is not aligned, is
 * empty, wraps around or allows no access; -EEXIST if it overlaps another window of @ioas.
 */
PB_API int pb_guest_add_window(struct pb_guest *guest, struct pb_ioas *ioas,
			       const struct pb_guest_window *window, struct pb_error *err);

/**
 * pb_guest_remove_window() - report that the guest unmapped the range
 * @guest: the guest
 * @ioas: the domain's address space
 * @iova: the window's first address
 * @err: may be NULL
 *
 * When it returns 0, DMA to the window's BAR pages faults.
 *
 * Return: 0; -ENOENT if there is no such window; -EBUSY if the kernel did not unmap everything:
 * call again.
 */
PB_API int pb_guest_remove_window(struct pb_guest *guest, struct pb_ioas *ioas, uint64_t iova,
				  struct pb_error *err);

/**
 * struct pb_guest_trap - a part of a BAR that the VMM emulates, and that no peer may access
 * @bar: the BAR, 0 to 5
 * @offset: its offset in the BAR
 * @length: its length; each page that it overlaps is trapped
 */
struct pb_guest_trap {
	unsigned int bar;
	uint64_t offset;
	uint64_t length;
};

/**
 * pb_guest_add_device() - assign a device to the guest
 * @guest: the guest
 * @device: the device; must not be closed before pb_guest_remove_device() or pb_guest_destroy()
 * @traps: the VMM's traps; may be NULL if @nr_traps is 0. The pages of the MSI-X table and pending
 *	bits are trapped automatically
 * @nr_traps: the number of traps
 * @data: a pointer of the caller's, to identify the device in &struct pb_guest_range
 * @guest_device: receives the guest's device
 * @err: may be NULL
 *
 * Its initial state is that after a reset: decoding off, D0, BARs at no address. A BAR smaller than
 * a page is trapped as a whole. It is not an error if the device's BARs cannot be exported.
 *
 * Return: 0; -EEXIST if it was added already; -EINVAL if a trap is not inside a memory BAR of the
 * device.
 */
PB_API int pb_guest_add_device(struct pb_guest *guest, struct pb_device *device,
			       const struct pb_guest_trap *traps, unsigned int nr_traps, void *data,
			       struct pb_guest_device **guest_device, struct pb_error *err);

/**
 * pb_guest_remove_device() - remove a device from the guest
 * @device: the device, which is freed
 * @err: may be NULL
 *
 * When it returns 0, the device has no mappings and can be closed. Its reports are dropped.
 *
 * Return: 0; -EBUSY if the kernel did not unmap everything: the device still exists, with decoding
 * off; call again.
 */
PB_API int pb_guest_remove_device(struct pb_guest_device *device, struct pb_error *err);

#define PB_GUEST_NOWHERE 0xffffffffffffffffULL

/**
 * pb_guest_set_bar() - report that the guest wrote a BAR register
 * @device: the device
 * @bar: the BAR, 0 to 5
 * @address: the guest-physical address in the register, or in both registers of a 64-bit BAR; a
 *	multiple of the page size, or of the BAR's size if that is smaller. PB_GUEST_NOWHERE if the
 *	BAR has no address.
 * @err: may be NULL
 *
 * Call it for each write, with the resulting address. A BAR whose address bits are all ones is
 * being sized, and has no address. A half-written address of a 64-bit BAR is used as it is, as on
 * the bus.
 *
 * Return: 0, also if the kernel refuses to map it there; -EINVAL if there is no such memory BAR, or
 * @address is not aligned.
 */
PB_API int pb_guest_set_bar(struct pb_guest_device *device, unsigned int bar, uint64_t address,
			    struct pb_error *err);

/**
 * pb_guest_set_decoding() - report that the guest wrote the Memory Space bit of the command
 * register
 * @device: the device
 * @on: the new state of the bit
 * @err: may be NULL
 *
 * The caller writes the device's own bit: to set it, before this call; to clear it, after.
 *
 * Return: 0, also if the kernel refuses to map something.
 */
PB_API int pb_guest_set_decoding(struct pb_guest_device *device, bool on, struct pb_error *err);

/**
 * pb_guest_set_power() - report that the guest moved the device to D0 or out of it
 * @device: the device
 * @on: whether it is in D0
 * @err: may be NULL
 *
 * The order is that of pb_guest_set_decoding().
 *
 * Return: as pb_guest_set_decoding().
 */
PB_API int pb_guest_set_power(struct pb_guest_device *device, bool on, struct pb_error *err);

/**
 * pb_guest_reset_begin() - report that the device is about to be reset, alone or with others
 * @device: the device
 * @err: may be NULL
 *
 * For a hot reset, call it for each affected device, then reset, then call pb_guest_reset_done()
 * for each.
 *
 * Return: 0. When it returns, no page of the device is mapped.
 */
PB_API int pb_guest_reset_begin(struct pb_guest_device *device, struct pb_error *err);

/**
 * pb_guest_reset_done() - report that the reset is over, successful or not
 * @device: the device
 * @err: may be NULL
 *
 * The state is then that after a reset: decoding off, D0. The BARs keep their addresses. If the
 * guest sees cleared BAR registers, call pb_guest_set_bar(). If the VMM restored the command
 * register, call pb_guest_set_decoding().
 *
 * Return: 0.
 */
PB_API int pb_guest_reset_done(struct pb_guest_device *device, struct pb_error *err);

/**
 * enum pb_guest_sync_flags - flags of pb_guest_sync()
 * @PB_GUEST_RETRY: also retry ranges that the kernel refused for a lasting reason, such as a BAR
 *	that cannot be exported; export the BAR again if it is not mapped
 * @PB_GUEST_REMAKE: make all mappings again, also those that seem live: for a VMM that cannot see
 *	all revocations of its devices
 */
enum pb_guest_sync_flags { PB_GUEST_RETRY = 1 << 0, PB_GUEST_REMAKE = 1 << 1 };

/**
 * pb_guest_sync() - process pending events, and retry refused ranges
 * @guest: the guest
 * @flags: of &enum pb_guest_sync_flags
 * @err: may be NULL
 *
 * Call it when pb_guest_fd() polls readable, and when the VMM freed addresses without the library
 * that a BAR may be waiting for.
 *
 * Return: 0, also if ranges are refused, see pb_guest_nr_refused(); -EINVAL if @flags are unknown.
 */
PB_API int pb_guest_sync(struct pb_guest *guest, unsigned int flags, struct pb_error *err);

/** pb_guest_nr_refused() - the number of ranges that should be mapped now, but were refused */
PB_API unsigned int pb_guest_nr_refused(struct pb_guest *guest);

/**
 * pb_guest_check() - compare with the kernel's mappings, and repair them
 * @guest: the guest
 * @nr_found: receives the number of ranges that were wrong; may be NULL
 * @err: may be NULL
 *
 * For each mapping, asks the kernel whether its addresses are mapped and its buffer is live; on
 * peerbar-vfio-pci also whether it was revoked since it was mapped. Differences are reported, and
 * mapped again if possible. The stock kernel does not report a buffer that was revoked and is live
 * again: a VMM that resets a device without reporting it needs PB_GUEST_REMAKE.
 *
 * Return: 0; a negative errno if a mapping could not be queried.
 */
PB_API int pb_guest_check(struct pb_guest *guest, unsigned int *nr_found, struct pb_error *err);

/**
 * pb_guest_fd() - a descriptor that polls readable while work is pending: call pb_guest_sync(),
 * then pb_guest_next_report()
 * @guest: the guest
 *
 * It becomes readable when a mapping that should exist was revoked, when a refused range may be
 * possible, and when a report is pending. Actions of this process through the library, on the
 * device or on mappings of the address space, are seen at once. Actions of other processes, or on
 * the device's descriptor, are seen only with peerbar-vfio-pci, and if netlink events were
 * available at pb_guest_create(). It does not become readable for other buffers, of this process or
 * others, nor for actions of the guest that the VMM reports in the right order.
 *
 * After pb_guest_sync(), and pb_guest_next_report() until there is none, it is not readable until
 * the next event, and each event triggers it again: edge-triggered polling (EPOLLET) works as well.
 * Do not read from it.
 *
 * Return: descriptor; it remains the guest's.
 */
PB_API int pb_guest_fd(const struct pb_guest *guest);

/**
 * enum pb_guest_state - the state of a part of a BAR
 * @PB_GUEST_MAPPED: mapped at the guest's address
 * @PB_GUEST_OFF: the device does not decode: decoding is off, it is not in D0, or it is being reset
 * @PB_GUEST_UNPLACED: the BAR has no address, or is being sized
 * @PB_GUEST_TRAPPED: the VMM emulates it
 * @PB_GUEST_OVERLAP: another BAR claims the same pages
 * @PB_GUEST_REFUSED: it should be mapped, but could not be
 */
enum pb_guest_state {
	PB_GUEST_MAPPED,
	PB_GUEST_OFF,
	PB_GUEST_UNPLACED,
	PB_GUEST_TRAPPED,
	PB_GUEST_OVERLAP,
	PB_GUEST_REFUSED
};

/** pb_guest_state_name() - the name of the state without PB_GUEST_, such as "MAPPED"; a constant */
PB_API const char *pb_guest_state_name(enum pb_guest_state state);

/**
 * struct pb_guest_range - a part of a BAR, and its state
 * @device: the device
 * @data: the pointer given to pb_guest_add_device()
 * @bdf: the device's address on the host
 * @bar: the BAR
 * @offset: the offset in the BAR
 * @length: the length
 * @address: the guest-physical address; PB_GUEST_NOWHERE if @state is PB_GUEST_UNPLACED
 * @ioas: the address space; NULL if @state is PB_GUEST_OFF or PB_GUEST_UNPLACED, which hold for all
 *	of them
 * @iova: the address in the address space
 * @state: the state
 * @why: with PB_GUEST_REFUSED, the reason; in a report with PB_GUEST_MAPPED, code ESTALE if the
 *	mapping was lost without being reported; otherwise code 0 and an empty text
 */
struct pb_guest_range {
	struct pb_guest_device *device;
	void *data;
	char bdf[PB_BDF_LEN];
	unsigned int bar;
	uint64_t offset;
	uint64_t length;
	uint64_t address;
	struct pb_ioas *ioas;
	uint64_t iova;
	enum pb_guest_state state;
	struct pb_error why;
};

/**
 * pb_guest_list_sized() - list all parts of all BARs
 * @guest: the guest
 * @ranges: receives an array, to be freed with free(): for each BAR and address space, its ranges,
 *	ascending
 * @size: sizeof(**@ranges)
 * @nr_ranges: receives the number of elements
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_guest_list_sized(struct pb_guest *guest, struct pb_guest_range **ranges, size_t size,
			       unsigned int *nr_ranges, struct pb_error *err);

/** pb_guest_list() - pb_guest_list_sized() with this header's size */
static inline int pb_guest_list(struct pb_guest *guest, struct pb_guest_range **ranges,
				unsigned int *nr_ranges, struct pb_error *err)
{
	return pb_guest_list_sized(guest, ranges, sizeof(**ranges), nr_ranges, err);
}

/**
 * pb_guest_next_report_sized() - take the next report, for the VMM's log
 * @guest: the guest
 * @report: filled in if there is one
 * @size: sizeof(*@report)
 *
 * PB_GUEST_REFUSED is reported when a range could not be mapped, or lost its mapping and could not
 * be mapped again: once for each range and reason, and only once for a BAR that cannot be exported.
 * PB_GUEST_MAPPED is reported when such a range is mapped after all, and when a mapping was lost
 * without being reported and was made again: DMA may have faulted in between. More than 256 pending
 * reports drop the oldest.
 *
 * Return: true if there was a report, false if there is none.
 */
PB_API bool pb_guest_next_report_sized(struct pb_guest *guest, struct pb_guest_range *report,
				       size_t size);

/** pb_guest_next_report() - pb_guest_next_report_sized() with this header's size */
static inline bool pb_guest_next_report(struct pb_guest *guest, struct pb_guest_range *report)
{
	return pb_guest_next_report_sized(guest, report, sizeof(*report));
}

#ifdef __cplusplus
}
#endif

#endif
