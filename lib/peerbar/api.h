/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The version of the interface, and what all headers of libpeerbar need. */
#ifndef PEERBAR_API_H
#define PEERBAR_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define PB_API __attribute__((visibility("default")))
#else
#define PB_API
#endif

/*
 * The version of these headers: major, minor and micro in a byte each, 0x000100 for 0.1.0. The
 * library at run time may be newer or older: see pb_version(). docs/abi.md lists the possible
 * differences between versions.
 */
#define PB_VERSION_MAJOR 0
#define PB_VERSION_MINOR 1
#define PB_VERSION_MICRO 0
#define PB_VERSION	 0x000100

/**
 * DOC: structures - those that may grow
 *
 * Newer versions may append fields to these structures, which the library fills in:
 * &struct pb_pci_function, &struct pb_region, &struct pb_buffer_info, &struct pb_listed,
 * &struct pb_event, &struct pb_importer, &struct pb_guest_range, &struct pb_capability. The
 * function that fills one in has a name that ends in _sized, and takes the size that the caller was
 * compiled with. It writes exactly that many bytes: fields that the caller does not know are
 * omitted, and fields that the library does not know are 0. For an array, the size is that of one
 * element. The function of the same name without _sized is inline and passes sizeof. Bindings for
 * other languages call the _sized one.
 *
 * No other structure of the library changes.
 */

/** pb_version() - the version of the running library, for example "0.1.0" */
PB_API const char *pb_version(void);

#ifdef __cplusplus
}
#endif

#endif
