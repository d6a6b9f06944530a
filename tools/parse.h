/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Numbers and ranges as they are written on a command line. Each function returns 0, -EINVAL if the text is not of the right
 * form, or -ERANGE if a number does not fit. On failure @why receives one sentence; it may be NULL if @n is 0. *@value and
 * *@range are changed on success only; arrays may be changed in any case.
 */
#ifndef PBT_PARSE_H
#define PBT_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include "peerbar.h"

/* decimal, or hexadecimal after 0x, then optionally K, M, G or T (2^10, 2^20, 2^30, 2^40; lower case too); no sign, no blanks */
int pbt_parse_number(const char *text, uint64_t *value, char *why, size_t n);

/* names or numbers, separated by commas, as "wc,nc"; at most @room of them; *@count is how many */
int pbt_parse_memattrs(const char *text, enum pb_memattr *memattrs, unsigned int room, unsigned int *count, char *why, size_t n);

/* two hexadecimal digits for each byte, as "00ff12"; @bytes has room for half as many bytes as @text has characters */
int pbt_parse_bytes(const char *text, uint8_t *bytes, size_t *count, char *why, size_t n);

/* OFFSET:LENGTH, both of them numbers; whether they are aligned and inside a BAR is for the library to say */
int pbt_parse_range(const char *text, struct pb_range *range, char *why, size_t n);

/* BDF:BAR, and optionally +OFFSET; whether there is such a device is for the library to say. @bdf has room for all of @text. */
int pbt_parse_bar(const char *text, char *bdf, unsigned int *bar, uint64_t *offset, char *why, size_t n);

#endif
