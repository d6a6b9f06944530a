/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Numbers and ranges of the command line. Each function returns 0, -EINVAL if the text is
 * malformed, or -ERANGE if a number is too large. On failure @why receives one sentence; it may be
 * NULL if @n is 0. *@value and *@range are written on success only; arrays may be written in any
 * case.
 */
#ifndef PBT_PARSE_H
#define PBT_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include "peerbar.h"

/*
 * Decimal, or hexadecimal after 0x, then optionally K, M, G or T (2^10, 2^20, 2^30, 2^40; also
 * lower case). No sign, no blanks.
 */
int pbt_parse_number(const char *text, uint64_t *value, char *why, size_t n);

/*
 * Names or numbers, separated by commas, such as "wc,nc"; at most @room. *@count receives their
 * number.
 */
int pbt_parse_memattrs(const char *text, enum pb_memattr *memattrs, unsigned int room,
		       unsigned int *count, char *why, size_t n);

/*
 * Two hexadecimal digits per byte, such as "00ff12". @bytes must hold half as many bytes as @text
 * has characters.
 */
int pbt_parse_bytes(const char *text, uint8_t *bytes, size_t *count, char *why, size_t n);

/* OFFSET:LENGTH, two numbers. The library checks the alignment and the BAR's size. */
int pbt_parse_range(const char *text, struct pb_range *range, char *why, size_t n);

/*
 * BDF:BAR, optionally +OFFSET. The library checks that the device exists. @bdf must hold all of
 * @text.
 */
int pbt_parse_bar(const char *text, char *bdf, unsigned int *bar, uint64_t *offset, char *why,
		  size_t n);

/* BAR+OFFSET, as in 2+0x1000. */
int pbt_parse_page(const char *text, unsigned int *bar, uint64_t *offset, char *why, size_t n);

#endif
